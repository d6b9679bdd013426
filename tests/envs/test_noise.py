"""The numbers are checked against SplitMix64 written in plain Python, and that against its published vector."""

import math

import numpy as np
import pytest
import torch

from rl_tracking.envs import noise
from rl_tracking.envs.noise import Stream

WORD = 2**64
GOLDEN = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
# The first outputs of the generator seeded with 1234567, as they are given wherever SplitMix64 is tested.
VECTOR = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def python_mix(z):
    z = ((z ^ (z >> 30)) * FIRST) % WORD
    z = ((z ^ (z >> 27)) * SECOND) % WORD
    return z ^ (z >> 31)


def output(seed, n):
    """The n-th output of SplitMix64, counted from 1, as an unsigned number."""
    return python_mix((seed + n * GOLDEN) % WORD)


def signed(z):
    return z - WORD if z >= WORD // 2 else z


def unmix(z):
    """The number whose mix is ``z``."""

    def unshift(z, bits):
        x = z
        for _ in range(64 // bits):
            x = z ^ (x >> bits)
        return x

    z = (unshift(z, 31) * pow(SECOND, -1, WORD)) % WORD
    z = (unshift(z, 27) * pow(FIRST, -1, WORD)) % WORD
    return unshift(z, 30)


def keys(*values):
    return torch.tensor(values, dtype=torch.int64)


def at(step, worlds=1):
    return torch.full((worlds,), step, dtype=torch.int64)


def test_plain_python_gives_the_published_vector():
    assert [output(1234567, n) for n in range(1, 6)] == VECTOR
    assert unmix(python_mix(987654321)) == 987654321


def test_first_stream_of_step_0_is_the_published_vector():
    drawn = noise.bits(keys(1234567), at(0), Stream.WIND, 5)
    assert drawn.tolist() == [[signed(z) for z in VECTOR]]


@pytest.mark.parametrize("z", [0, 1, -1, 2**63 - 1, -(2**63), 0x0123456789ABCDEF])
def test_mix_at_the_edges(z):
    assert noise.mix(keys(z)).tolist() == [signed(python_mix(z % WORD))]


def test_mix_leaves_its_argument_alone():
    z = keys(5, 6)
    noise.mix(z)
    assert z.tolist() == [5, 6]


@pytest.mark.parametrize("key", [0, 1234567, -1, -(2**63), 2**63 - 1])
@pytest.mark.parametrize(
    ("step", "stream", "lanes"), [(0, Stream.BRANCH, 3), (1, Stream.WIND, 16), (10**6, Stream(2), 1)]
)
def test_bits_are_consecutive_outputs_of_the_key(key, step, stream, lanes):
    # 16 streams of 16 lanes a step, lane by lane.
    before = (step * 16 + int(stream)) * 16
    expected = [signed(output(key % WORD, before + lane)) for lane in range(1, lanes + 1)]
    assert noise.bits(keys(key), at(step), stream, lanes).tolist() == [expected]


def test_a_stream_has_16_lanes():
    with pytest.raises(ValueError, match="at most 16"):
        noise.bits(keys(1), at(0), Stream.WIND, 17)


def test_all_streams_fit_in_a_step():
    assert max(Stream) < 16
    assert len(set(Stream)) == len(Stream) == 13


def test_no_two_draws_share_a_number():
    key = noise.world_keys(3, 10)
    drawn = [noise.bits(key, at(step, 10), stream, 16).flatten().numpy() for step in range(60) for stream in Stream]
    assert np.unique(np.concatenate(drawn)).size == 10 * 60 * len(Stream) * 16


def test_uniform_is_the_24_highest_bits():
    drawn = noise.uniform(keys(1234567), at(0), Stream.WIND, 5)
    assert drawn.dtype == torch.float32
    assert drawn.tolist() == [[(z >> 40) / 2**24 for z in VECTOR]]


def key_that_draws(z):
    """The key whose first number at step 0 of stream WIND is ``z``."""
    return keys(signed((unmix(z) - GOLDEN) % WORD))


def test_the_extremes_are_finite_and_inside():
    least, greatest = key_that_draws(0), key_that_draws(WORD - 1)
    assert noise.uniform(least, at(0), Stream.WIND, 1).item() == 0.0
    assert noise.uniform(greatest, at(0), Stream.WIND, 1).item() == 1.0 - 2.0**-24
    low = noise.normal(least, at(0), Stream.WIND, 1).item()
    high = noise.normal(greatest, at(0), Stream.WIND, 1).item()
    # The tails end where the distribution leaves 2^-25 outside: P(X < -5.42) = 2.98e-8.
    assert low == -high
    assert 0.5 * math.erfc(high / math.sqrt(2)) == pytest.approx(2.0**-25, rel=0.02)


def test_the_middle_of_normal_is_zero():
    just_above = noise.normal(key_that_draws(1 << 63), at(0), Stream.WIND, 1).item()
    just_below = noise.normal(key_that_draws((1 << 63) - 1), at(0), Stream.WIND, 1).item()
    assert just_above == -just_below
    # Half a step of 2^-24 in probability over the density 1 / sqrt(2 pi).
    assert just_above == pytest.approx(2.0**-25 * math.sqrt(2 * math.pi), rel=1e-3)


def kolmogorov_smirnov(sample, distribution):
    """The largest gap between the sample's distribution and the one it should have, times sqrt(n)."""
    ordered = np.sort(sample.astype(np.float64))
    theory = distribution(ordered)
    n = ordered.size
    gap = max((np.arange(1, n + 1) / n - theory).max(), (theory - np.arange(n) / n).max())
    return gap * math.sqrt(n)


ACROSS = {
    "worlds": lambda draw: draw(noise.world_keys(0, 50_000), at(0, 50_000), 1),
    "steps": lambda draw: draw(noise.world_keys(0, 1).expand(50_000), torch.arange(50_000), 1),
    "lanes and worlds": lambda draw: draw(noise.world_keys(1, 3200), at(17, 3200), 16),
}


@pytest.mark.parametrize("across", ACROSS)
def test_uniform_is_uniform(across):
    sample = ACROSS[across](lambda key, step, lanes: noise.uniform(key, step, Stream.TARGET_SPAWN, lanes))
    sample = sample.flatten().numpy()
    assert sample.min() >= 0.0
    assert sample.max() < 1.0
    # Deviation of the mean of n uniforms: 1 / sqrt(12 n); 4 of them.
    assert abs(sample.mean() - 0.5) < 4 / math.sqrt(12 * sample.size)
    assert kolmogorov_smirnov(sample, lambda x: x) < 1.63, "one chance in a hundred of a good generator"


@pytest.mark.parametrize("across", ACROSS)
def test_normal_is_normal(across):
    sample = ACROSS[across](lambda key, step, lanes: noise.normal(key, step, Stream.WIND, lanes))
    sample = sample.flatten().numpy().astype(np.float64)
    n = sample.size
    assert np.isfinite(sample).all()
    # Each moment within 4 of its own deviations: 1/n, 2/n, 15/n and 96/n are their variances.
    assert abs(sample.mean()) < 4 / math.sqrt(n)
    assert abs((sample**2).mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs((sample**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((sample**4).mean() - 3) < 4 * math.sqrt(96 / n)
    erf = np.vectorize(math.erf)
    assert kolmogorov_smirnov(sample, lambda x: 0.5 * (1 + erf(x / math.sqrt(2)))) < 1.63


@pytest.mark.parametrize(
    "other",
    [
        lambda key: noise.normal(key, at(1, len(key)), Stream.WIND, 1),
        lambda key: noise.normal(key, at(0, len(key)), Stream.TARGET_SPAWN, 1),
        lambda key: noise.normal(key, at(0, len(key)), Stream.WIND, 2)[:, 1:],
        lambda key: noise.normal(noise.next_episode(key), at(0, len(key)), Stream.WIND, 1),
        lambda key: noise.normal(key.roll(1), at(0, len(key)), Stream.WIND, 1),
        lambda key: noise.normal(noise.fork(key, at(0, len(key)), 2)[len(key) :], at(0, len(key)), Stream.WIND, 1),
    ],
    ids=["step", "stream", "lane", "episode", "neighbour", "branch"],
)
def test_draws_do_not_know_of_each_other(other):
    key = noise.world_keys(5, 40_000)
    a = noise.normal(key, at(0, 40_000), Stream.WIND, 1).flatten()
    b = other(key).flatten()
    assert abs((a * b).mean().item()) < 4 / math.sqrt(40_000)


def test_a_world_draws_the_same_whoever_runs_beside_it():
    key = noise.world_keys(11, 1000)
    step = torch.arange(1000) * 7
    for draw in (noise.bits, noise.uniform, noise.normal):
        together = draw(key, step, Stream.SENSOR, 7)
        for world in (0, 1, 6, 7, 8, 500, 999):
            alone = draw(key[world : world + 1], step[world : world + 1], Stream.SENSOR, 7)
            assert together[world].numpy().tobytes() == alone[0].numpy().tobytes()
        # More lanes do not change the first ones.
        assert torch.equal(draw(key, step, Stream.SENSOR, 16)[:, :7], together)


def test_a_world_alone_draws_blocks_of_steps_and_they_join():
    key = noise.world_keys(12, 2)
    for step in (0, 1, 62, 63, 64, 65, 127, 128, 10**12):
        for lanes in (1, 3, 16):
            both = noise.normal(key, at(step, 2), Stream.WIND, lanes)
            for world in (0, 1):
                alone = noise.normal(key[world : world + 1], at(step), Stream.WIND, lanes)
                assert alone.shape == (1, lanes)
                assert torch.equal(alone[0], both[world])


def test_world_keys_do_not_depend_on_how_many_are_asked_for():
    many = noise.world_keys(42, 1000)
    assert torch.equal(many[:10], noise.world_keys(42, 10))
    assert torch.equal(many[300:305], noise.world_keys(42, 5, first=300))
    assert many.unique().numel() == 1000


def test_world_keys_are_outputs_of_a_generator_seeded_by_the_seed():
    root = output(42, 1)
    assert noise.world_keys(42, 4).tolist() == [signed(output(root, n)) for n in range(1, 5)]


def test_seeds_give_other_worlds():
    drawn = torch.cat([noise.world_keys(seed, 100) for seed in range(100)])
    assert drawn.unique().numel() == 10_000


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**63 - 1, 2**64 - 1])
def test_any_seed_will_do(seed):
    assert noise.world_keys(seed, 2).dtype == torch.int64


def test_episodes_follow_one_another_without_a_loop():
    key = noise.world_keys(0, 50)
    seen = [key]
    for _ in range(200):
        key = noise.next_episode(key)
        assert key.shape == (50,)
        seen.append(key)
    assert torch.cat(seen).unique().numel() == 50 * 201


def test_fork_keeps_branch_0_and_gives_the_others_keys_of_their_own():
    key = noise.world_keys(0, 5)
    step = torch.tensor([0, 3, 7, 7, 9])
    forked = noise.fork(key, step, 4)
    assert forked.shape == (20,)
    assert torch.equal(forked[:5], key)
    assert forked.unique().numel() == 20
    # Branch-major, and each branch depends on its parent alone.
    assert torch.equal(forked.view(4, 5)[:, 2], noise.fork(key[2:3], step[2:3], 4))
    assert torch.equal(forked[:10], noise.fork(key, step, 2))
    assert torch.equal(noise.fork(key, step, 1), key)
    # A later step forks into other keys.
    assert not (noise.fork(key, step + 1, 4)[5:] == forked[5:]).any()


@pytest.mark.parametrize("worlds", [1, 5])
def test_normal_of_later_steps(worlds):
    key, step = noise.world_keys(0, worlds), torch.arange(worlds) + 62
    later = noise.normal(key, step, Stream.WIND, 3, ahead=2)
    assert torch.equal(later, noise.normal(key, step + 2, Stream.WIND, 3))


def test_many_worlds_draw_what_each_draws_alone():
    # Many are drawn by NumPy, few by torch.
    worlds = torch.arange(3000)
    key, step = noise.world_keys(7, len(worlds)), worlds % 97
    for draw in (noise.uniform, noise.normal, noise.bits):
        many = draw(key, step, Stream.WIND, 3)
        assert torch.equal(many[1500:1505], draw(key[1500:1505], step[1500:1505], Stream.WIND, 3))
        assert torch.equal(many[2999:], draw(key[2999:], step[2999:], Stream.WIND, 3))
    assert noise.bits(key, step, Stream.WIND, 1).T.is_contiguous()


def test_a_few_worlds_draw_steps_ahead_and_they_are_those_of_each_step():
    key, step = noise.world_keys(13, 6), torch.tensor([0, 5, 5, 90, 3, 10**9])
    others = noise.world_keys(14, 6)
    # In order, back to an earlier step, far away, and with other keys and other steps in between.
    for keys_, steps in [
        *((key, step + n) for n in range(70)),
        (key, step + 3),
        (key, step + 4),
        (key, step + 2000),
        (others, step + 2001),
        (key, step + 2001),
        (key, step + torch.arange(6)),
        (key, step + torch.arange(6) + 1),
    ]:
        drawn = noise.normal(keys_, steps, Stream.WIND, 3)
        assert torch.equal(drawn, noise._normal(keys_, steps, Stream.WIND, 3))
        assert drawn.T.is_contiguous()


def test_writing_to_what_was_drawn_changes_no_later_draw():
    key, step = noise.world_keys(15, 4), at(0, 4)
    for _ in range(3):
        noise.normal(key, step, Stream.WIND, 2).zero_()
    assert torch.equal(noise.normal(key, step, Stream.WIND, 2), noise._normal(key, step, Stream.WIND, 2))


def test_a_few_worlds_draw_in_inference_mode_what_they_draw_outside():
    key = noise.world_keys(16, 4)
    for n in range(3):
        with torch.inference_mode():
            inside = noise.normal(key, at(n, 4), Stream.WIND, 2)
        assert torch.equal(inside, noise.normal(key, at(n, 4), Stream.WIND, 2))
