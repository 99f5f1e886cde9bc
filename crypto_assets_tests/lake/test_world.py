"""A lake belongs to one world."""

from dataclasses import replace

import pytest

from crypto_assets.lake import Lake, world
from crypto_assets.market.errors import LakeError, SettingsError

SANDBOX = world.World("sandbox", "standard", 7, "2w", "2024-01-01", ["BTC"], 60)


def test_a_new_lake_is_stamped_and_recognised(tmp_path):
    lake = Lake(tmp_path)
    assert world.read(lake) is None
    assert world.claim(lake, SANDBOX) == SANDBOX
    assert world.claim(lake, replace(SANDBOX, start="2024-02-01")) == SANDBOX


@pytest.mark.parametrize(
    "other", [{"world": "live", "market": None, "seed": None}, {"market": "null"}, {"seed": 8}, {"fold": "month"}]
)
def test_another_world_is_refused_naming_both(tmp_path, other):
    lake = Lake(tmp_path)
    world.claim(lake, SANDBOX)
    with pytest.raises(SettingsError, match=r"belongs to the world .*standard.*asked was"):
        world.claim(lake, replace(SANDBOX, **other))


def test_a_damaged_stamp_is_an_error(tmp_path):
    lake = Lake(tmp_path)
    world.claim(lake, SANDBOX)
    world.stamp_path(lake).write_text("{")
    with pytest.raises(LakeError, match="restore it"):
        world.read(lake)
