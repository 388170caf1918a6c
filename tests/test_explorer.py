"""The explorer and the slider, without a browser."""
import base64
import io
import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from glassml import explorer  # noqa: E402
from glassml.dataset import load_glass, make_dataset  # noqa: E402
from glassml.explorer import Explorer, best_elsewhere, left_out_paths, slider, view_particle, view_path  # noqa: E402
from glassml.linear import MAPLasso, MAPRidge  # noqa: E402

GLASS = load_glass("quick_T0.40")[:3]
DATA = make_dataset(GLASS)
SMALL = [np.flatnonzero(c.species == 1) for c in GLASS]


@pytest.fixture(scope="module")
def explored():
    pytest.importorskip("anywidget", reason="the explorer needs anywidget")
    return Explorer(GLASS, DATA)


@pytest.fixture
def live(explored):
    "The explorer at its start."
    explored.sample.value, explored.treatment.value = 0, "MAP-Ridge"
    explored.rank.value, explored.penalty.value = explored.rank.max, 12
    return explored


def pictures(explored):
    return {name: getattr(explored, name).source for name in ("measured", "predicted", "particle_view", "path_view")}


def changed(explored, control, value):
    "Which pictures another value of a control changes."
    before = pictures(explored)
    control.value = value
    return {name for name, source in pictures(explored).items() if source != before[name]}


# --- the predictions

@pytest.mark.parametrize("treatment", [MAPRidge(), MAPLasso()], ids=["ridge", "lasso"])
def test_a_configuration_has_no_say_in_its_own_predictions(treatment):
    penalties = np.geomspace(1, 100, 5)
    mine = DATA.groups == 1
    told = replace(DATA, p=np.where(mine, DATA.p[::-1] + 5, DATA.p))
    before, after = (left_out_paths(data, treatment, penalties) for data in (DATA, told))
    assert np.array_equal(before[1].predictions, after[1].predictions)
    assert not np.allclose(before[0].predictions, after[0].predictions)


def test_the_path_is_that_of_a_model_fitted_to_the_others():
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    path = left_out_paths(DATA, MAPRidge(), [3.0, 30.0])[2]
    rest = DATA.groups != 2
    model = make_pipeline(StandardScaler(), Ridge(alpha=30.0)).fit(DATA.X[rest], DATA.p[rest])
    np.testing.assert_allclose(path.predictions[1], model.predict(DATA.X[~rest]), atol=1e-8)
    np.testing.assert_allclose(path.risks[1], np.mean((DATA.p[~rest] - path.predictions[1])**2), rtol=1e-8)


def test_the_penalty_is_chosen_on_the_others():
    paths = left_out_paths(DATA, MAPRidge(), np.geomspace(1, 1e5, 20))
    best = best_elsewhere(paths, 0)
    own = replace(paths[0], weights=1e3 * paths[0].weights)   # its own risk, were it asked, would outweigh all others
    paths[0] = replace(own, p=own.predictions[(best + 10) % 20])
    assert paths[0].risks.argmin() != best
    assert best_elsewhere(paths, 0) == best == np.argmin(paths[1].risks + paths[2].risks)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least two configurations, got one"):
        left_out_paths(make_dataset(GLASS[:1]), MAPRidge(), [1.0])
    for penalties in ([2.0, 1.0], [0.0, 1.0]):
        with pytest.raises(ValueError, match="must be positive and rise"):
            left_out_paths(DATA, MAPRidge(), penalties)
    path = left_out_paths(DATA, MAPRidge(), [1.0])[0]
    with pytest.raises(ValueError, match="between 0 and 249, got 250"):
        view_particle(GLASS[0], 250, path, 0, DATA.names)
    large = int(np.flatnonzero(GLASS[0].species == 3)[0])
    with pytest.raises(ValueError, match=f"particle {large} is of species 3, which is not predicted"):
        view_particle(GLASS[0], large, path, 0, DATA.names)


def test_descriptors_of_another_name_have_a_row_too():
    path = left_out_paths(DATA, MAPRidge(), [1.0])[0]
    figure = view_particle(GLASS[0], SMALL[0][0], path, 0, [f"column {m}" for m in range(len(DATA.names))])
    assert [label.get_text() for label in figure.axes[2].get_yticklabels()] == ["descriptors"]
    plt.close(figure)


# --- the slider of a page

def boxes():
    for k in range(3):
        figure, ax = plt.subplots(figsize=(1, 1))
        ax.plot([0, k])
        yield figure


def test_a_slider_holds_every_figure_and_shows_one():
    html = slider(boxes(), ["none", "one & <b>", "two"], "steps", start=1).data
    shown = re.findall(r'<img style="display: (\w+);.*?" alt="(.*?)" src="data:image/png;base64,(.*?)"', html)
    assert [(display, alt) for display, alt, _ in shown] == [("none", "none"), ("block", "one &amp; &lt;b&gt;"), ("none", "two")]
    sizes = {Image.open(io.BytesIO(base64.b64decode(picture))).size for _, _, picture in shown}
    assert len(sizes) == 1 and len({picture for _, _, picture in shown}) == 3
    assert 'max="2" value="1" aria-valuetext="one &amp; &lt;b&gt;"' in html and ">one &amp;" in html
    assert "http" not in html and not plt.get_fignums()


def test_a_slider_is_the_same_bytes_twice():
    assert slider(boxes(), "abc", "x").data == slider(boxes(), "abc", "x").data


@pytest.mark.parametrize("labels, start", [("ab", 0), ("abc", 3), ("abc", -1)])
def test_a_slider_without_the_right_labels_is_refused(labels, start):
    with pytest.raises(ValueError, match="expected a label for each figure"):
        slider(boxes(), labels, "x", start)


# --- the explorer

def test_each_control_draws_what_depends_on_it(live):
    assert changed(live, live.rank, 3) == {"particle_view"}
    assert changed(live, live.penalty, 20) == {"predicted", "particle_view"}
    assert changed(live, live.treatment, "MAP-Lasso") >= {"predicted", "particle_view", "path_view"}
    assert changed(live, live.sample, 2) == {"measured", "predicted", "particle_view", "path_view"}
    assert not plt.get_fignums()


def test_a_click_chooses_the_particle_under_it(live):
    for picture in (live.measured, live.predicted):
        for particle in SMALL[0][[4, 30, 77]]:
            picture.clicked = explorer._in_picture(live._map, *(GLASS[0].positions[particle] + 1e-3))
            assert live.particle == particle and f"Particle {particle} of" in live.title.value
            assert live.measured.rings == [explorer._in_picture(live._map, *GLASS[0].positions[particle])]


def test_a_click_beside_the_map_changes_nothing(live):
    before = live.particle
    live.measured.clicked = [0.99, 0.5]
    assert live.particle == before


def test_ranks_go_from_the_slowest_to_the_fastest(live):
    seen = []
    for live.rank.value in (0, 40, live.rank.max):
        seen.append(GLASS[0].propensity[live.particle])
    assert seen == sorted(seen) and seen[0] == GLASS[0].propensity[SMALL[0]].min() and seen[2] == GLASS[0].propensity[SMALL[0]].max()


def test_the_words_say_what_the_models_say(live):
    path = live.paths["MAP-Lasso"][1]
    live.treatment.value, live.sample.value, live.penalty.value, live.rank.value = "MAP-Lasso", 1, 9, 50
    i = np.argsort(path.p)[50]
    assert live.shown is path and live.particle == SMALL[1][i]
    assert f"propensity {path.p[i]:.2f} ±" in live.title.value and f"predicted {path.predictions[9, i]:.2f};" in live.title.value
    assert f"{np.count_nonzero(path.weights[9])} weights, trained on the other 2" in live.title.value
    assert live.path_view.rings[0] == explorer._in_picture(live._curves[0], path.penalties[9], path.risks[9])


def test_the_explorer_refuses_other_data(live):
    with pytest.raises(ValueError, match="must be of the 330 particles of species 1 .*; got 220 others"):
        Explorer(GLASS, make_dataset(GLASS[:2]))
    with pytest.raises(ValueError, match="of the 270 particles of species 3"):
        Explorer(GLASS, DATA, species=3)


def test_without_anywidget_the_explorer_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"pip install 'glassml\[explore\]'"):
        Explorer(GLASS, DATA)


def test_a_figure_of_the_path_marks_the_penalty():
    paths = left_out_paths(DATA, MAPRidge(), [1.0, 10.0])
    plain, marked = view_path(paths, 0), view_path(paths, 0, 1)
    assert len(marked.axes[0].lines) == len(plain.axes[0].lines) + 1
    assert marked.axes[1].lines[-1].get_xdata()[0] == 10.0
    plt.close("all")
