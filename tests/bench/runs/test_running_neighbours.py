"""Samplers of other libraries stand in a run beside ours: counted, timed, scored, held against the converged solution."""

import pytest

import bench

pytest.importorskip("diffusers")
pytest.importorskip("torchsde", reason="k-diffusion's samplers import it")


def test_they_stand_in_a_run_beside_ours(small, tmp_path):
    karras = "diffusers:DPMSolverMultistepScheduler:use_karras_sigmas=true"
    names = ("ddim", "k_diffusion:sample_heun", karras, "diffusers:SASolverScheduler")
    frame = bench.run(**small | {"samplers": names, "calls": (5,)}, out=tmp_path / "run", quiet=True)
    frame = frame.set_index("sampler").loc[list(names)]
    assert set(frame["status"]) == {"ok"}
    assert frame["counted.calls"].tolist() == [5, 5, 5, 5]
    assert frame["grid"].tolist() == ["uniform_t", "karras", "own", "own"]
    assert frame["quality.trajectory_error.value"].notna().tolist() == [True, True, True, False]
