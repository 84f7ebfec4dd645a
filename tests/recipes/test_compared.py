"""Features as a comparison's command line names them."""

from pathlib import Path

import pytest

from vqw2v_plugin.recipes.compared import Features, parse_features


def test_a_name_stands_for_a_layer_its_files_and_its_components(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a recipe's stages may run elsewhere
    found, plain = parse_features(["b.2=bert:-1/64@a.pt+/b=c+d.pt", "mel=logmel"])
    assert found == Features("b.2", "bert:-1", tmp_path / "a.pt", Path("/b=c+d.pt"), 64)
    assert found.options == ["--pca", "64"] and found.layers == ("bert:-1",)
    assert plain == Features("mel", "logmel") and plain.options == []


def test_layers_are_mixed_only_where_they_may_be() -> None:
    mixed = Features.parse("m=w2v2:0,w2v2:-1@/a.pt", several=True)
    assert mixed.layers == ("w2v2:0", "w2v2:-1") and mixed.components is None
    with pytest.raises(ValueError, match=r"expected NAME=LAYER\[/COMPONENTS\] or"):
        Features.parse("m=w2v2:0,w2v2:-1@/a.pt")
    with pytest.raises(ValueError, match=r"has 'm=c/9@/a.pt'; expected NAME=LAYER\[,LAYER…\] or"):
        Features.parse("m=c/9@/a.pt", several=True)


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="`--features` has a name twice"):
        parse_features(["a=logmel", "b=mfcc", "a=c@/a.pt"])
