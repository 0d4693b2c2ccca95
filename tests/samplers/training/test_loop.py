"""The training loop: a killed run resumes bit for bit, a diverged one keeps its last checkpoint."""

import pytest
import torch
from changed import changed
from tiny_training import IDENTITY, OPTIMISATION, KilledError, fails_at, kill, log, loss, network, train
from torch import nn

from samplers import UserError
from samplers.models.weights import load_tensors
from samplers.time_limit import TimeUpError, limited, time_limit
from samplers.training import precision
from samplers.training.checkpoint import restore, slim
from samplers.training.loop import Target
from samplers.training.optimisation import Optimisation, step_generator
from samplers.training.precision import quicken, reproducible_float32


def test_resumed_run_equals_the_unbroken_one_bit_for_bit(tmp_path):
    whole = train(tmp_path / "whole")
    for step, already in ((10, 0), (5, 10)):  # killed twice: in step 10, then 5 steps after the resume
        with pytest.raises(KilledError):
            train(tmp_path / "killed", loss=fails_at(step, kill))
        _, info = load_tensors(tmp_path / "killed" / "checkpoint.safetensors")
        assert info["step"] == already + step
    resumed = train(tmp_path / "killed")
    assert all(torch.equal(resumed.ema[k], whole.ema[k]) for k in whole.ema)
    a, _ = load_tensors(tmp_path / "whole" / "checkpoint.safetensors")
    b, _ = load_tensors(tmp_path / "killed" / "checkpoint.safetensors")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert (resumed.steps, resumed.images) == (20, 160)
    assert resumed.seconds > 0


def test_resume_takes_up_where_it_stopped(tmp_path):
    """Not from the start: only the steps that are left are taken."""
    with pytest.raises(KilledError):
        train(tmp_path, loss=fails_at(13, kill))
    calls = []
    train(tmp_path, loss=lambda net, generator, step: (calls.append(1), loss(net, generator))[1])
    assert len(calls) == 20 - 13


def test_finished_training_is_not_trained_again(tmp_path):
    first = train(tmp_path)
    again = train(tmp_path, loss=fails_at(0, kill))
    assert all(torch.equal(again.ema[k], first.ema[k]) for k in first.ema)
    assert again.last == first.last


def test_training_learns_and_the_seed_matters(tmp_path):
    before = loss(network(), step_generator(9, 9)).item()
    trained = train(tmp_path / "a")
    net = network()
    net.load_state_dict(trained.ema)
    assert loss(net, step_generator(9, 9)).item() < before
    other = train(tmp_path / "b", optimisation=changed(OPTIMISATION, seed=4))
    assert not all(torch.equal(other.ema[k], trained.ema[k]) for k in trained.ema)


def test_global_random_state_does_not_matter(tmp_path):
    one = train(tmp_path / "a")

    def disturbed(net, generator, number):
        torch.randn(3)
        return loss(net, generator)

    two = train(tmp_path / "b", loss=disturbed)
    assert all(torch.equal(one.ema[k], two.ema[k]) for k in one.ema)


@pytest.mark.parametrize("spoil", [lambda v: v * float("nan"), lambda v: v * float("inf")])
def test_nan_keeps_the_last_checkpoint(tmp_path, spoil):
    with pytest.raises(UserError, match="not finite at step 12; the checkpoint before it is kept") as e:
        train(tmp_path, loss=fails_at(12, spoil))
    assert "\n" not in str(e.value)
    _tensors, info = load_tensors(tmp_path / "checkpoint.safetensors")  # which refuses NaN
    assert info["step"] == 12
    whole, resumed = train(tmp_path / "whole"), train(tmp_path)
    assert all(torch.equal(resumed.ema[k], whole.ema[k]) for k in whole.ema)


def test_nan_in_the_gradient_alone_is_seen(tmp_path):
    def spoil(value):
        return value + torch.sqrt(0 * value)  # 0, with an infinite slope

    with pytest.raises(UserError, match="gradient is not finite at step 3"):
        train(tmp_path, loss=fails_at(3, spoil))


@pytest.mark.parametrize(
    ("identity", "named"),
    [
        (IDENTITY | {"data_sha256": "abd"}, "data_sha256"),
        (IDENTITY | {"recipe": {"name": "tiny", "widths": (4, 3)}}, "recipe"),
        (IDENTITY | {"extra": 1}, "extra"),
    ],
)
def test_checkpoint_of_another_training_is_refused(tmp_path, identity, named):
    train(tmp_path, optimisation=changed(OPTIMISATION, steps=2))
    with pytest.raises(UserError, match=f"is of another training .*{named}.* choose another --out") as e:
        train(tmp_path, identity=identity)
    assert "\n" not in str(e.value)


def test_damaged_checkpoint_is_one_line(tmp_path):
    train(tmp_path, optimisation=changed(OPTIMISATION, steps=2))
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        train(tmp_path)


def test_average_is_the_recursion(tmp_path):
    """ema <- d ema + (1 - d) weights after update k (from 0), d = min(0.9, (1 + k) / (10 + k))."""
    seen = []

    def watching(net, generator, step):
        seen.append([p.detach().clone() for p in net.parameters()])
        return loss(net, generator)

    trained = train(tmp_path, loss=watching)
    tensors, _ = load_tensors(tmp_path / "checkpoint.safetensors")
    seen.append([tensors[f"raw/{k}"] for k in trained.ema])
    for i, name in enumerate(trained.ema):
        average = seen[0][i]
        for k, weights in enumerate(w[i] for w in seen[1:]):
            decay = min(0.9, (1 + k) / (10 + k))
            average = decay * average + (1 - decay) * weights
        torch.testing.assert_close(trained.ema[name], average, rtol=1e-5, atol=1e-7)


def test_validation_sees_the_average_and_leaves_the_weights_alone(tmp_path):
    scored = []

    def validate(net):
        scored.append({k: p.detach().clone() for k, p in net.named_parameters()})
        assert not net.training
        return {"score": 0.0}

    with_validation = train(tmp_path / "a", validate=validate)
    without = train(tmp_path / "b")
    assert all(torch.equal(with_validation.ema[k], without.ema[k]) for k in without.ema)
    assert len(scored) == 4
    assert all(torch.equal(scored[-1][k], without.ema[k]) for k in without.ema)


def test_first_step_is_adams(tmp_path):
    """Adam's first step is learning rate x sign(gradient), here with warm-up over 5 updates and decay over 1."""
    o = changed(OPTIMISATION, steps=1, clip=1e9)
    train(tmp_path, optimisation=o)
    net = network()
    loss(net, step_generator(3, 0)).backward()
    tensors, _ = load_tensors(tmp_path / "checkpoint.safetensors")
    for name, p in net.named_parameters():
        torch.testing.assert_close(tensors[f"raw/{name}"], p.detach() - o.learning_rate / 5 * p.grad.sign(), rtol=0, atol=1e-6)


def test_generator_depends_on_seed_and_step_alone():
    def draw(seed, step):
        return float(torch.randn((), generator=step_generator(seed, step)))

    assert draw(1, 2) == draw(1, 2)
    assert len({draw(s, k) for s in range(4) for k in range(50)}) == 200


def test_time_that_is_up_stops_after_an_update_and_the_next_call_goes_on(tmp_path):
    """With a limit of no time at all each call takes one update, keeps it and stops; the last one ends as an unbroken run."""
    whole = train(tmp_path / "whole")
    rare = changed(OPTIMISATION, checkpoint_seconds=1e9)
    for step in range(1, 20):
        with pytest.raises(TimeUpError), time_limit(0):
            train(tmp_path / "cut", optimisation=rare)
        assert load_tensors(tmp_path / "cut" / "checkpoint.safetensors")[1]["step"] == step
    with time_limit(0):
        last = train(tmp_path / "cut", optimisation=rare)
    assert all(torch.equal(last.ema[k], whole.ema[k]) for k in whole.ema)
    assert not limited()


def test_a_batch_in_parts_is_the_batch(tmp_path):
    """Two parts of four images, drawn one after another, give the mean of their gradients."""

    def parts(count):
        def drawn(net, generator, step):
            x = torch.randn(8 // count, 1, 6, 6, generator=generator)
            return (net(x) - x[:, :, 1:-1, 1:-1].abs()).square().mean()

        return drawn

    o = changed(OPTIMISATION, steps=3, clip=1e9)
    whole = train(tmp_path / "whole", loss=parts(1), optimisation=o)
    halves = train(tmp_path / "halves", loss=parts(2), optimisation=changed(o, accumulate=2))
    once = train(tmp_path / "once", loss=parts(2), optimisation=o)
    for k in whole.ema:
        torch.testing.assert_close(halves.ema[k], whole.ema[k], rtol=1e-4, atol=1e-6)
    assert any((once.ema[k] - whole.ema[k]).abs().max() > 1e-4 for k in whole.ema)
    assert log(tmp_path / "halves")[-1]["loss"] == pytest.approx(log(tmp_path / "whole")[-1]["loss"], abs=1e-5)
    with pytest.raises(UserError, match="a batch of 8 has no 3 equal parts"):
        changed(o, accumulate=3)


def test_later_keys_are_no_part_of_an_older_training_s_identity():
    assert Optimisation(steps=5).identity() == {"steps": 5}
    assert Optimisation(steps=5, batch=4, accumulate=2, compile=True).identity().keys() == {
        "steps",
        "batch",
        "accumulate",
        "compile",
    }


def test_networks_are_compiled_where_it_pays_and_keep_their_names(monkeypatch):
    seen, cpu = [], torch.device("cpu")
    monkeypatch.setattr(precision, "has_cpp_compiler", lambda: True)
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: seen.append(options))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    net, o, gpu = network(), changed(OPTIMISATION, compile=True), torch.device("cuda")
    names = net.state_dict().keys()
    assert not quicken([net], o, cpu)
    assert not quicken([net], OPTIMISATION, gpu)
    assert seen == []
    assert quicken([net], changed(o, steps=precision.WORTH_COMPILING), cpu)
    assert seen.pop() == {"dynamic": False, "mode": "default"}
    monkeypatch.setattr(precision, "has_cpp_compiler", lambda: False)
    assert not quicken([net], changed(o, steps=precision.WORTH_COMPILING), cpu)
    assert quicken([net], o, gpu)
    assert quicken([net], changed(o, accumulate=2), gpu)
    assert seen == [{"dynamic": False, "mode": "reduce-overhead"}, {"dynamic": False, "mode": "default"}]
    assert net.state_dict().keys() == names


def test_a_slim_checkpoint_goes_on_from_its_step(tmp_path):
    """At 10 bytes a parameter instead of 16: nearly the same weights at the end as without the journey."""
    whole = train(tmp_path / "whole", target=Target(network(), 0.5))
    with pytest.raises(KilledError):
        train(tmp_path / "cut", loss=fails_at(12, kill), target=Target(network(), 0.5))
    path = tmp_path / "cut" / "checkpoint.safetensors"
    before, info = load_tensors(path)
    slim(path, tmp_path / "slim.safetensors")
    restore(tmp_path / "slim.safetensors", path)
    after, same = load_tensors(path)
    assert same == info
    assert after.keys() == before.keys()
    assert all(v.dtype == torch.float32 for v in after.values())
    assert all(torch.equal(after[k], before[k]) for k in before if k[0] in "rt" and not k.startswith("target/"))
    for k in before:
        torch.testing.assert_close(after[k], before[k], rtol=5e-3, atol=5e-3 * float(before[k].abs().max()))
    on_disk = sum(v.numel() * v.element_size() for v in load_tensors(tmp_path / "slim.safetensors")[0].values())
    assert on_disk < 0.65 * sum(v.numel() * v.element_size() for v in before.values())
    resumed = train(tmp_path / "cut", target=Target(network(), 0.5))
    for k in whole.ema:
        torch.testing.assert_close(resumed.ema[k], whole.ema[k], rtol=0.05, atol=5e-3)


def test_what_is_measured_after_a_training_does_not_depend_on_it(monkeypatch):
    for module, flag in ((torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "allow_tf32")):
        monkeypatch.setattr(module, flag, True)
    reproducible_float32()
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == (False, False)
