import sys; sys.path[:0]=["/work/main","/work/main/tests/dsno"]
def test_x(teacher, teacher_card):
    from dsno.trajectory_making import Maker
    from tiny import making
    for s in ("dpmpp_2m","ddim","heun"):
        for n in (6,32):
            print(s,n,Maker(teacher, making(teacher_card, solver=s, steps=n)).error())
