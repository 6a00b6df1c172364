"""The page of licences: what is needed is followed to its end, and every package has a licence."""

from importlib.metadata import distribution

from tools import licences


def test_needs_are_followed_to_the_end():
    asked = licences.all_needed("refacer")
    assert asked["pillow"] >= {"refacer"}
    assert asked["markdown-it-py"] == {"rich"}
    assert "tensorboard" not in asked  # an extra
    assert list(asked) == sorted(asked)


def test_a_licence_is_an_expression_or_a_classifiers_name():
    assert licences.licence_of(distribution("rich")) == "MIT"
    assert licences.UNSTATED not in {
        licences.licence_of(distribution(name)) for name in ("pillow", "numpy", "dlib-bin")
    }


def test_the_page_lists_what_refacer_itself_needs():
    rows = licences.PAGE.read_text()
    direct = [name for name, asking in licences.all_needed("refacer").items() if "refacer" in asking]
    assert len(direct) > 10
    assert [name for name in direct if f"\n| {name} | " not in rows] == []
