"""The training engine: every bar once a pass, one gradient however it is split, the same numbers under a seed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from crypto_assets.models._calibration import likeliest
from crypto_assets.models.tracking import Silent
from crypto_assets.models.training import engine, linear, steps
from crypto_assets.models.training.calibration import SLOPE_SPREAD, departure, mean_slope, mean_square, trust
from crypto_assets.models.training.device import DevicePanel, chunk_starts
from crypto_assets.models.training.ema import Ema
from crypto_assets.models.training.heads import Targets, Weights, base_logits, counts, losses
from crypto_assets.models.training.inputs import Inputs, lagged, trailing_log_variance
from crypto_assets.models.training.schedule import warmup_cosine
from crypto_assets.models.transformer import MODEL, Config, Module
from crypto_assets_tests.models import _planted


class Memory(Silent):
    """Remembers what a fit reports."""

    def __init__(self) -> None:
        self.seen: dict = {}
        self.curves: dict[str, list[float]] = {}

    def params(self, values) -> None:
        self.seen |= values

    def curve(self, name, step, value) -> None:
        self.curves.setdefault(name, []).append(value)


def device_panel(panel=None, config=None) -> tuple[DevicePanel, Inputs]:
    panel = panel or _planted.panel()
    inputs = Inputs.fit(panel, lags=(config or Config.debug()).lags, indicators=False)
    return DevicePanel.build(panel, inputs.apply(panel), panel.symbols, torch.device("cpu")), inputs


def test_two_fits_with_one_seed_are_the_same_to_the_bit_and_another_seed_is_not():
    panel, fold = _planted.panel(), _planted.fold()
    runs = []
    for seed in (1, 1, 2):
        memory = Memory()
        checkpoint = MODEL.fit(panel, fold, preset="debug", seed=seed, recorder=memory)
        runs.append((memory.curves, checkpoint.version))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_fit_reports_parameters_curves_and_progress():
    memory, seen = Memory(), []
    checkpoint = MODEL.fit(_planted.panel(), _planted.fold(), preset="debug", seed=1, recorder=memory, progress=seen.append)
    assert memory.seen["parameters"] == checkpoint.config["parameters"]
    assert memory.seen["training.lr"] == Config.debug().training.lr
    curves = {"train_loss", *(f"valid_log_loss_{t}" for t in ("1h", "4h", "24h", "24h_relative"))}
    assert set(memory.curves) == curves
    assert len(memory.curves["train_loss"]) == len(seen) - 1
    assert seen[0].step == 0
    assert checkpoint.config["step"] == max(p.step for p in seen if p.best)


def test_fitting_leaves_the_callers_random_state_and_threads_alone():
    torch.manual_seed(11)
    threads, expected = torch.get_num_threads(), torch.rand(3)
    torch.manual_seed(11)
    MODEL.fit(_planted.panel(), _planted.fold(), preset="debug", seed=1, recorder=Silent(), threads=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_every_listed_bar_is_in_exactly_one_chunk_of_a_pass():
    panel = _planted.panel()
    listed = panel.listed_TN.copy()
    listed[:400, 1] = False
    data, _ = device_panel(replace(panel, listed_TN=listed))
    begin, end, length = 100, 777, 48
    coin, start = chunk_starts(data, begin, end, length, torch.Generator().manual_seed(4))
    times = np.zeros(listed.T.shape, dtype=int)
    for c, s in zip(coin.tolist(), start.tolist(), strict=True):
        times[c, max(s, begin) : min(s + length, end)] += 1
    assert (times[:, begin:end][listed.T[:, begin:end]] == 1).all()
    assert times[:, :begin].sum() == times[:, end:].sum() == 0


def test_a_gather_reads_what_the_panel_holds_and_nothing_beyond_its_ends():
    data, _ = device_panel()
    T = data.listed_NT.shape[1]
    batch, at = data.gather(torch.tensor([0, 2]), torch.tensor([10, T - 5]), 12)
    assert torch.equal(batch.x_BLF[0], data.x_NTF[0, 10:22])
    assert torch.equal(batch.x_BLF[1, :5], data.x_NTF[2, T - 5 :])
    assert batch.listed_BL[0].all()
    assert batch.listed_BL[1].tolist() == [True] * 5 + [False] * 7
    targets = data.targets(at, batch.listed_BL)
    torch.testing.assert_close(targets.direction_BL4[0], data.direction_NT4[0, 10:22], equal_nan=True)
    assert torch.isnan(targets.direction_BL4[1, 5:]).all()


def test_coins_that_go_together_share_their_times_and_read_what_each_reads_alone():
    data, _ = device_panel()
    coin, start = chunk_starts(data, 100, 777, 48, torch.Generator().manual_seed(4), together=True)
    assert torch.equal(coin, torch.arange(3).expand(len(coin), 3))
    assert torch.equal(start, start[:, :1].expand(-1, 3))
    assert sorted(range(100, 777)) == sorted(t for s in start[:, 0].tolist() for t in range(max(s, 100), min(s + 48, 777)))
    both, at = data.gather(coin[:2], start[:2], 48)
    alone, at_alone = data.gather(coin[1], start[1], 48)
    for a, b in zip(
        (both.x_BLF[1], both.listed_BL[1], both.coin_B[1], at[1]), (*alone[:1], alone[2], alone[1], at_alone), strict=True
    ):
        assert torch.equal(a, b)


def test_a_lesson_of_windows_asks_for_the_last_bars_alone():
    data, _ = device_panel()
    chunks = torch.tensor([0, 2]), torch.tensor([30, 40])
    batch, targets = data.lesson(chunks, 1, 11, (0, 40))
    assert torch.equal(batch.x_BLF[0], data.x_NTF[0, 19:31])
    torch.testing.assert_close(targets.direction_BL4[0, 0], data.direction_NT4[0, 30], equal_nan=True)
    assert torch.isnan(targets.log_rv_BL[1]).all()


def test_accumulated_parts_give_the_gradient_of_the_whole():
    config = replace(Config.debug(), dropout=0.0, feature_dropout=0.0, coin_dropout=0.0)
    data, inputs = device_panel(config=config)
    data.direction_NT4[0, :300] = torch.nan  # parts of unequal label counts
    chunks = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 100, 200, 820])
    stepped = []
    for accumulate in (1, 2, 4):
        torch.manual_seed(0)
        module = Module(config, inputs.width, 3)
        training = replace(config.training, accumulate=accumulate, clip=1e9)
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        loss = steps.step(steps.Learner.of(module, optimizer, (0, 850), training), data, chunks)
        stepped.append((loss, *(p.detach().clone() for p in module.parameters())))
    for other in stepped[1:]:
        for a, b in zip(stepped[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_losses_are_the_textbook_ones_and_ignore_the_unknown():
    torch.manual_seed(0)
    data, inputs = device_panel()
    heads = Module(Config.debug(), inputs.width, 3).eval()(data.gather(torch.tensor([0]), torch.tensor([5]), 30)[0])
    heads = type(heads)(*(h + torch.randn_like(h) for h in heads))
    targets = Targets(torch.randint(0, 2, (1, 30, 4)).float(), torch.randn(1, 30, 3), torch.randn(1, 30))
    targets.direction_BL4[0, :10] = torch.nan
    sums, n = losses(heads, targets)
    assert n.tolist() == [20] * 4 + [30] * 4 == counts(targets).tolist()
    p, y = torch.sigmoid(heads.logits_BL4[0, 10:]), targets.direction_BL4[0, 10:]
    torch.testing.assert_close(sums[:4], -(y * p.log() + (1 - y) * (1 - p).log()).sum(0))
    normal = torch.distributions.Normal(heads.mean_BL3, torch.exp(0.5 * heads.log_var_BL3))
    constant = 0.5 * math.log(2 * math.pi) * 30
    torch.testing.assert_close(sums[4:7], -normal.log_prob(targets.returns_BL3).sum((0, 1)) - constant)
    torch.testing.assert_close(sums[7], ((targets.log_rv_BL - heads.log_rv_BL) ** 2).sum())


def test_an_untrained_net_says_the_base_rate_and_the_volatility_baseline():
    data, inputs = device_panel()
    heads = engine.answers(Module(Config.debug(), inputs.width, 3), data, (200, 400))
    assert (heads.logits_BL4 == 0).all()
    assert (heads.log_rv_BL == 0).all()


def test_the_volatility_baseline_tracks_realised_variance():
    panel = _planted.panel()
    prepared = Inputs.fit(panel, lags=0, indicators=False).apply(panel)
    known = np.isfinite(panel.labels["rv_24h"])
    truth = np.log(panel.labels["rv_24h"][known])
    assert np.corrcoef(truth, prepared.log_rv_TN[known])[0, 1] > 0.6
    assert abs((truth - prepared.log_rv_TN[known]).mean()) < 0.01


def test_trailing_variance_and_lags_look_back_only():
    r = np.random.default_rng(0).normal(size=(300, 2))
    r[50:60, 0] = np.nan
    logs = trailing_log_variance(r)
    np.testing.assert_allclose(logs[0, 100], np.log((r[95:101] ** 2).mean(axis=0) + 1e-10))
    np.testing.assert_allclose(logs[1, 60, 0], np.log((r[37:50, 0] ** 2).sum() / 14 + r[60, 0] ** 2 / 14 + 1e-10))
    np.testing.assert_array_equal(trailing_log_variance(r[:200]), logs[:, :200])
    np.testing.assert_array_equal(lagged(np.arange(5.0), 3)[4], [4, 3, 2])
    np.testing.assert_array_equal(lagged(np.arange(5.0), 3)[0], [0, 0, 0])


def test_inputs_learn_from_the_training_slice_alone():
    panel = _planted.panel()
    train = replace(panel, x_TNF=panel.x_TNF.copy())
    before = Inputs.fit(_cut(panel, 500), lags=2, indicators=True).tensors()
    train.x_TNF[500:] = 1e9
    after = Inputs.fit(_cut(train, 500), lags=2, indicators=True).tensors()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
    restored = Inputs.restore(before)
    np.testing.assert_array_equal(
        restored.apply(panel).x_NTF, Inputs.fit(_cut(panel, 500), lags=2, indicators=True).apply(panel).x_NTF
    )


def _cut(panel, hours):
    labels = {k: v[:hours] for k, v in panel.labels.items()}
    return replace(
        panel,
        ts=panel.ts[:hours],
        x_TNF=panel.x_TNF[:hours],
        r_TN=panel.r_TN[:hours],
        listed_TN=panel.listed_TN[:hours],
        labels=labels,
    )


def test_the_linear_path_is_the_ridge_solution(monkeypatch):
    monkeypatch.setattr(linear, "SPARSE_PENALTIES", ())
    data, inputs = device_panel()
    module = Module(Config.debug(), inputs.width, 3)
    module.readout.base_4.copy_(base_logits(data.direction_NT4[:, :600]))
    shrinkage = linear.start(module, data, (0, 600), (624, 800))
    penalties, share = shrinkage.penalty_K, shrinkage.share_K
    assert ((share >= 0) & (share <= 1)).all()
    assert share[0] > 0.5  # one planted feature leads the next return
    y = data.log_rv_NT[:, :600].flatten().double().numpy()
    F = inputs.width
    oracle = Ridge(alpha=float(penalties[7]), solver="cholesky").fit(with_coins(data, 600, penalties[7]), y)
    np.testing.assert_allclose(module.readout.wide.weight[10].numpy(), share[7] * oracle.coef_[:F], atol=1e-5)
    constants = float(penalties[7] / linear.COIN_PENALTY) ** 0.5 * oracle.coef_[F:]
    np.testing.assert_allclose(module.readout.coin[1:, 10].numpy(), share[7] * constants, atol=1e-5)
    assert not module.readout.coin[0].any(), "a coin of no name has no constant"
    assert module.readout.deep.bias[10].item() == pytest.approx(float(share[7]) * oracle.intercept_, abs=1e-5)
    rate = torch.sigmoid(module.readout.base_4[0]).item()
    up = data.direction_NT4[:, :600, 0].flatten().double().numpy()
    surprise = (up - rate) / (rate * (1 - rate))
    oracle = Ridge(alpha=float(penalties[0]), solver="cholesky").fit(with_coins(data, 600, penalties[0]), surprise)
    np.testing.assert_allclose(module.readout.wide.weight[0].numpy(), share[0] * oracle.coef_[:F], atol=1e-5)
    before = module.readout.deep.bias.clone()
    linear.refit(module, data, (0, 800), shrinkage)
    assert torch.equal(module.readout.deep.bias, before)
    oracle = Ridge(alpha=float(penalties[7])).fit(with_coins(data, 800, penalties[7]), data.log_rv_NT[:, :800].flatten())
    np.testing.assert_allclose(module.readout.wide.weight[10].numpy(), share[7] * oracle.coef_[:F], atol=1e-5)


def test_a_sparse_linear_path_is_the_ridge_solution_on_inputs_scaled_by_a_first_one():
    data, inputs = device_panel()
    module = Module(Config.debug(), inputs.width, 3)
    module.readout.base_4.copy_(base_logits(data.direction_NT4[:, :600]))
    F, penalty = inputs.width, 1e6
    every, none = torch.ones(8, dtype=torch.bool), torch.zeros(8, dtype=torch.bool)
    linear.refit(
        module, data, (0, 600), linear.Shrinkage(torch.full((8,), max(linear.PENALTIES)).double(), none, torch.ones(8))
    )
    first = module.readout.wide.weight[10].double().numpy()
    linear.refit(module, data, (0, 600), linear.Shrinkage(torch.full((8,), penalty).double(), every, torch.ones(8)))
    relative = (first**2).mean() / (first**2 + linear.FLOOR * (first**2).mean())
    x = with_coins(data, 600, penalty)
    x[:, :F] /= np.sqrt(relative)
    oracle = Ridge(alpha=penalty, solver="cholesky").fit(x, data.log_rv_NT[:, :600].flatten().double().numpy())
    found = module.readout.wide.weight[10].numpy() * np.sqrt(relative)
    np.testing.assert_allclose(found, oracle.coef_[:F], rtol=2e-3, atol=2e-3 * np.abs(oracle.coef_[:F]).max())


def test_where_few_of_many_inputs_matter_the_path_goes_by_the_input_and_where_all_do_it_does_not():
    g = np.random.default_rng(0)
    for informative, sparse in ((3, True), (100, False)):
        data, module = wide_market(g, inputs=100, informative=informative)
        shrinkage = linear.start(module, data, (0, 45_000), (45_024, 60_000))
        assert bool(shrinkage.sparse_K[0]) is sparse, informative
        assert shrinkage.share_K[0] > 0.9


def test_of_a_linear_path_through_noise_next_to_nothing_is_left():
    left = []
    for seed in range(8):
        data, module = wide_market(np.random.default_rng(seed), inputs=30, informative=0)
        left.append(float(linear.start(module, data, (0, 45_000), (45_024, 60_000)).share_K[0]))
    assert np.median(left) == 0
    assert max(left) < 0.8


def wide_market(g: np.random.Generator, *, inputs: int, informative: int):
    """One coin, hourly directions that hang on the first inputs, a fiftieth of their variance between them."""
    x = g.normal(size=(1, 60_000, inputs)).astype(np.float32)
    signal = x[..., :informative].sum(axis=-1) * np.sqrt(0.02 / max(informative, 1))
    up = (signal + g.normal(size=signal.shape) > 0).astype(np.float32)
    data, _ = device_panel()
    nothing = torch.full((1, 60_000, 3), float("nan"))
    data = replace(
        data,
        x_NTF=torch.from_numpy(x),
        coin_N=torch.ones(1, dtype=torch.int64),
        listed_NT=torch.ones(1, 60_000, dtype=torch.bool),
        direction_NT4=torch.from_numpy(np.stack([up] + [np.full_like(up, np.nan)] * 3, axis=-1)),
        returns_NT3=nothing,
        log_rv_NT=nothing[..., 0],
    )
    return data, Module(Config.debug(), inputs, 1)


def with_coins(data, hours: int, penalty) -> np.ndarray:
    """The inputs and the coins' names, sized so that one penalty weighs on both as the linear path has it."""
    x = data.x_NTF[:, :hours].flatten(0, 1).double().numpy()
    names = np.repeat(np.eye(len(data.x_NTF)), hours, axis=0)
    return np.concatenate([x, names * float(penalty / linear.COIN_PENALTY) ** 0.5], axis=1)


def test_depth_is_trusted_for_what_it_adds_and_not_for_noise():
    g = np.random.default_rng(0)
    base, path = np.zeros(4), 0.3 * g.normal(size=(3, 2400, 4))
    added = 0.4 * g.normal(size=path.shape)
    up = (g.random(path.shape) < 1 / (1 + np.exp(-path - added))).astype(float)
    depth, slope = trust(path + added, path, up, base)
    assert (depth > 0.8).all()
    assert (np.abs(slope - 1) < 0.2).all()
    depth, slope = trust(path + g.permuted(added, axis=1), path, up, base)
    assert (depth < 0.2).all()
    assert (np.abs(slope - 1) < 0.3).all()
    assert (trust(path, path, np.full_like(up, np.nan), base)[1] == 0).all()
    wrong = trust(-path, -path, up, base)[1]
    assert (wrong < 0.2).all()


def test_a_slope_is_the_posterior_mean_under_a_normal_prior_around_one():
    g = np.random.default_rng(3)
    z, block = g.normal(size=20_000), np.arange(20_000) // 10
    up = (g.random(20_000) < 1 / (1 + np.exp(-0.6 * z))).astype(float)
    assert departure(z, 0.0, up, block) == pytest.approx(0.6, abs=0.06), "evidence has its way"
    little = (0.3 * z[:400], 0.0, (g.random(400) < 0.5).astype(float), block[:400])
    found, (slope, variance) = departure(*little), likeliest(*little)
    steps = np.linspace(-8, 4, 24_001)
    density = np.exp(-((steps - slope) ** 2) / (2 * variance) - (steps - 1) ** 2 / (2 * SLOPE_SPREAD**2))
    assert found == pytest.approx(float((steps * density).sum() / density.sum()), abs=1e-3)
    assert 0.3 < found < 1


def test_schedule_rises_once_then_falls():
    factors = [warmup_cosine(s, 100) for s in range(100)]
    peak = int(np.argmax(factors))
    assert factors[peak] == pytest.approx(1.0)
    assert all(np.diff(factors[: peak + 1]) > 0)
    assert all(np.diff(factors[peak + 1 :]) < 0)
    assert 0 < factors[-1] < 0.02


def test_ema_of_constant_weights_is_those_weights_from_the_first_step():
    module = torch.nn.Linear(3, 2)
    ema = Ema(module, halflife=10)
    for _ in range(3):
        ema.update()
        for name, value in ema.weights().items():
            torch.testing.assert_close(value, module.state_dict()[name])


def test_corrections_recover_what_was_planted():
    g = np.random.default_rng(0)
    mean = g.normal(size=20_000)
    assert mean_slope(mean, 0.4 * mean + g.normal(size=20_000)) == pytest.approx(0.4, abs=0.02)
    assert mean_slope(mean, g.normal(size=20_000) - mean) == 0.0
    assert mean_square(1.5 * g.normal(size=20_000)) == pytest.approx(2.25, rel=0.03)
    assert mean_square(np.array([np.nan])) == 1.0


def test_stopping_score_is_the_weighted_mean_of_what_is_known():
    weights = Weights(direction=(1.0, 1.0, 0.5, 0.0))
    values = {"1h": 0.6, "4h": 0.7, "24h": math.nan, "24h_relative": 9.0}
    assert engine.stopping_score(values, weights) == pytest.approx(0.65)
    assert math.isnan(engine.stopping_score(dict.fromkeys(values, math.nan), weights))


def test_stops_early_and_keeps_the_best_weights():
    panel, fold = _planted.panel(skill=0.0), _planted.fold()
    training = replace(Config.debug().training, lr=0.03, passes=50, max_steps=400, evaluations=20, patience=2)
    seen = []
    config = replace(Config.debug(), training=training)
    checkpoint = MODEL.fit(panel, fold, preset="debug", seed=1, recorder=Silent(), config=config, progress=seen.append)
    best = min(seen, key=lambda p: p.valid_log_loss)
    assert checkpoint.config["step"] == best.step
    assert len(seen) < 20
    assert seen[-1].step - best.step == 2 * seen[1].step
