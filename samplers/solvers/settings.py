"""Where the solvers' default settings come from: a sentence each, for the cards of those that share one."""

UNIFORM = "the paper's linear spacing of the teacher's own time; the last step, to 0, is a call like the others"
EDM = "the paper's grid (rho = 7) down to the teacher's lowest level, then one call to 0"
DPM_SOLVER = (
    "the authors' code for small images: equal steps of log-SNR, all calls spent on them, no call to 0; the end is t = 1e-3 of "
    "their VP time up to 15 calls (sigma 0.0105), at 1e-4 beyond (0.0032), and noise of that level stays in the image"
)
DPMPP = (
    "the authors' code for guided sampling: equal steps of the teacher's own time, all calls spent on them, lower order in the "
    "last of fewer than 15, and no call to 0; the end as of dpm_solver"
)
DEIS = "the authors' code: equal steps of the square root of linear VP time, all calls spent on them; the end as of dpm_solver"
IPNDM = "the code of DEIS' authors: equal steps of the teacher's own time, all calls spent on them; the end as of dpm_solver"
S4S = (
    "levels and weights are fitted to the teacher's own solution, from its highest level to its lowest; all calls between nodes"
)
SA_SOLVER = (
    "orders, tau and where it is not 0 (VP time 0.2 to 0.8, sigma 0.72 to 25) as the authors recommend; grid and end are ours: "
    "equal steps of the teacher's own time, all calls spent on them, to the end of dpm_solver"
)
