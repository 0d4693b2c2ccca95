# A solver: put your formula in `step`, and see whether it keeps what a sampler owes its caller.
bench new sampler my_solver
bench verify my_solver --plugin my_solver/my_solver.py

# A student: a sampler, its network and its training. Three updates are a first look, no result.
bench new student my_student
sed -i.bak 's/steps: 500, batch: 32/steps: 3, batch: 4/' my_student/recipe.yaml
pip install --quiet ./my_student
bench train my_student --recipe my_student/recipe.yaml

# Both beside what they have to beat: one call against one call, four against four.
bench run --plugin my_solver/my_solver.py --samplers my_solver,dpmpp_2m,my_student --calls 1,4 --images 16 --trajectory-images 8 --metrics none --zoo training --out runs/mine
