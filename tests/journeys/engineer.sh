# What others measured: which sampler for 10 ms an image, and for a million images, training included?
bench recommend results/mnist32-cpu --latency-ms 10
bench recommend results/mnist32-cpu --quality 1.2x --images 1e6

# Does that hold here? Two candidates on this machine, before a change and after it.
bench run --samplers dpmpp_2m@4,ddim@4 --images 16 --trajectory-images 8 --metrics none --repetitions 6 --no-report --out runs/before
bench run --samplers dpmpp_2m@4,ddim@4 --images 16 --trajectory-images 8 --metrics none --repetitions 6 --no-report --out runs/after
bench gate runs/before runs/after --judge calls,forwards,flops,trajectory_error
