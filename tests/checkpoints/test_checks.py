"""Settings as a file says them become those that a config has, or the one that cannot is named."""

import dataclasses
import math
from typing import Any, List, Literal, Optional

import pytest

from vqw2v_plugin.checkpoints.checks import check_settings


@dataclasses.dataclass
class Inner:
    width: int = 2


@dataclasses.dataclass
class Config:
    """Every type that a setting may have."""

    count: int
    share: float = 0.5
    switch: bool = True
    name: str = "relu"
    limit: Optional[int] = None
    other: int | None = None
    numbers: List[float] = dataclasses.field(default_factory=list)
    names: tuple[str, ...] = ()
    way: Literal["left", "right"] = "left"
    inner: Inner = dataclasses.field(default_factory=Inner)
    some: int | str = 0


def test_settings_become_the_config_s_types() -> None:
    config = check_settings(
        Config,
        {
            "count": 3,
            "share": 1,
            "switch": "False",
            "limit": 4,
            "other": 5,
            "numbers": (1, 2.5),
            "names": ["a"],
            "way": "right",
            "inner": {"width": 7},
        },
    )
    assert config == Config(3, 1.0, False, "relu", 4, 5, [1.0, 2.5], ("a",), "right", Inner(7))
    assert type(config.share) is float and check_settings(Config, {"count": 1}) == Config(1)
    for some in (3, "x"):
        assert check_settings(Config, {"count": 1, "some": some, "other": None}) == Config(1, some=some)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "`count` is missing; expected int"),
        ({"count": 1.0}, "`count` is 1.0; expected int"),
        ({"count": True}, "`count` is True; expected int"),
        ({"switch": "maybe"}, "`switch` is 'maybe'; expected true or false"),
        ({"switch": 1}, "`switch` is 1; expected true or false"),
        ({"name": True}, "`name` is True; expected str"),
        ({"limit": "4"}, "`limit` is '4'; expected Optional[int]"),
        ({"numbers": [1, math.nan]}, "`numbers` is [1, nan]; expected List[float]"),
        ({"names": "ab"}, "`names` is 'ab'; expected tuple[str, ...]"),
        ({"way": "up"}, "`way` is 'up'; expected one of 'left', 'right'"),
        ({"some": None}, "`some` is None; expected int | str"),
        ({"inner": {"width": "7"}}, "`inner.width` is '7'; expected int"),
        ({"inner": 7}, "`inner` is 7; expected Inner"),
        ({"name": 10**200}, "…; expected str"),
    ],
)
def test_a_setting_of_another_type_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_settings(Config, {"count": 1, **settings} if settings else {})
    assert says in str(caught.value)
