"""A classifier of the user's own: its logits for the Inception Score beside its features, from one pass."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganmetrics as gm
from ganmetrics.errors import OptionError, StatisticsError
from tests.helpers.commands import Cli

OPTIONS = {"device": "cpu", "progress": False, "cache": False}
SPLITS = 3


def images(n: int, seed: int, channels: int = 3) -> np.ndarray:
    """`(n, channels, 6, 5)` uint8, brighter with the index, so that the order of the images matters."""
    draw = np.random.default_rng(seed).integers(0, 200, (n, channels, 6, 5))
    return (draw + (np.arange(n) * 55 // n)[:, None, None, None]).astype(np.uint8)


class Classifier(nn.Module):
    """8 features, and logits of them; with an attribute that is called `logits`, as many networks have."""

    def __init__(self, classes: int = 10, returns: str = "dict"):
        super().__init__()
        draw = torch.Generator().manual_seed(classes)
        self.body, self.logits, self.returns, self.calls = nn.Linear(90, 8), nn.Linear(8, classes), returns, 0
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=draw)

    def forward(self, x: Tensor) -> object:
        self.calls += 1
        features = torch.tanh(self.body(x.float().flatten(1) / 255 - 0.5))
        logits = self.logits(features)
        return {
            "dict": {"loss": None, "features": features, "logits": logits},
            "ordered": OrderedDict(logits=logits, features=features),
            "pair": (features, logits),
            "logits": logits,
            "only logits": {"logits": logits},
        }[self.returns]

    def by_hand(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features and logits in float64, without torch."""
        w1, b1, w2, b2 = (parameter.detach().double().numpy() for parameter in self.parameters())
        flat = np.broadcast_to(x, (len(x), 3, *x.shape[2:])).reshape(len(x), -1).astype(np.float64)
        features = np.tanh((flat / 255 - 0.5) @ w1.T + b1)
        return features, features @ w2.T + b2


def score_by_hand(logits: np.ndarray, splits: int) -> tuple[float, float]:
    """exp(E KL(p(y|x) || p(y))) of Salimans et al. 2016: mean and deviation over splits, in float64."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    parts = [p[i * len(p) // splits : (i + 1) * len(p) // splits] for i in range(splits)]
    values = [np.exp((part * (np.log(part) - np.log(part.mean(axis=0)))).sum(axis=1).mean()) for part in parts]
    return float(np.mean(values)), float(np.std(values))


def stating(classifier: Classifier, outputs: object) -> Classifier:
    classifier.ganmetrics_outputs = outputs  # type: ignore[assignment]
    return classifier


WAYS: dict[str, Callable[[int], Classifier]] = {
    "dict": lambda classes: Classifier(classes),
    "ordered dict": lambda classes: Classifier(classes, "ordered"),
    "dict of logits": lambda classes: Classifier(classes, "only logits"),
    "named logits": lambda classes: stating(Classifier(classes, "logits"), "logits"),
    "named logits in a tuple": lambda classes: stating(Classifier(classes, "logits"), ("logits",)),
    "named pair": lambda classes: stating(Classifier(classes, "pair"), ("features", "logits")),
    "named dict": lambda classes: stating(Classifier(classes), ["logits", "features"]),
}


@pytest.mark.parametrize("classes", [2, 10, 37])
@pytest.mark.parametrize("way", WAYS)
def test_the_score_by_hand(way: str, classes: int) -> None:
    classifier, fakes = WAYS[way](classes), images(100, 1)
    score = gm.inception_score(fakes, features=classifier, splits=SPLITS, batch_size=7, **OPTIONS)
    value, spread = score_by_hand(classifier.by_hand(fakes)[1], SPLITS)
    assert score.value == pytest.approx(value, rel=1e-5)
    assert score.spread == pytest.approx(spread, rel=1e-3)
    assert 1 < score.value < classes
    assert score.metric == "is-Classifier"
    assert (score.protocol["features"], score.protocol["tap"]) == ("Classifier", "logits")
    assert score.protocol["weights_sha256"]


def test_features_and_logits_from_one_pass() -> None:
    classifier, real, fakes = Classifier(), images(60, 1), images(50, 2)
    options = {"features": classifier, "splits": SPLITS, "batch_size": 10, **OPTIONS}
    scores = gm.evaluate(real, fakes, ["fid", "is", "kid", "prdc", "vendi"], **options)
    assert classifier.calls == 6 + 5
    assert scores["is"].value == pytest.approx(score_by_hand(classifier.by_hand(fakes)[1], SPLITS)[0], rel=1e-5)
    assert {name: score.metric for name, score in scores.items()} == {
        "fid": "fd-Classifier", "is": "is-Classifier", "kid": "kd-Classifier", "vendi": "vendi-Classifier",
        "precision": "precision-Classifier", "recall": "recall-Classifier", "density": "density-Classifier",
        "coverage": "coverage-Classifier",
    }  # fmt: skip
    sides = [classifier.by_hand(side)[0] for side in (real, fakes)]
    means, covariances = [x.mean(axis=0) for x in sides], [np.cov(x.T) for x in sides]
    roots = np.sqrt(np.maximum(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0)).sum()
    distance = ((means[0] - means[1]) ** 2).sum() + sum(map(np.trace, covariances)) - 2 * roots
    assert scores["fid"].value == pytest.approx(distance, rel=1e-4)


def test_of_grey_images_and_a_function() -> None:
    """MNIST: one channel, which is repeated three times, and a plain function."""
    network, fakes = Classifier(), images(90, 3, channels=1)

    def classifier(x: Tensor) -> dict[str, Tensor]:
        assert x.shape[1] == 3
        return network(x)

    score = gm.inception_score(fakes, features=classifier, splits=SPLITS, layout="NCHW", **OPTIONS)
    assert score.metric == "is-classifier"
    assert score.value == pytest.approx(score_by_hand(network.by_hand(fakes)[1], SPLITS)[0], rel=1e-5)


def test_in_a_training_loop() -> None:
    network, fakes = Classifier(), images(90, 4)
    value, _ = score_by_hand(network.by_hand(fakes)[1], SPLITS)
    options = {"features": network, "splits": SPLITS, **OPTIONS}
    streams = [gm.InceptionScore(**options) for _ in range(2)]
    for stream, part in zip(streams, (fakes[:30], fakes[30:]), strict=True):
        stream.update(part)
    streams[0].merge(streams[1])
    assert streams[0].compute().value == pytest.approx(value, rel=1e-5)
    evaluator = gm.Evaluator(["is", "fid"], images(40, 5), **options)
    for part in np.split(fakes, 5):
        evaluator.update(part)
    assert evaluator.compute()["is"].value == pytest.approx(value, rel=1e-5)
    left = list(np.split(fakes, 3))
    monitor = gm.Monitor(metrics=["is"], n_samples=90, batch_size_samples=30, **options)
    scores = monitor.measure(0, lambda n: torch.from_numpy(left.pop(0)))
    assert scores["is"].value == pytest.approx(value, rel=1e-5)
    assert scores["is"].metric == "is-Classifier"


MODULE = """
import torch
torch.manual_seed(3)
body, head = torch.nn.Linear(90, 8), torch.nn.Linear(8, 10)

class Both(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = body, head
    def forward(self, x):
        features = torch.tanh(self.body(x.float().flatten(1) / 255))
        return {"features": features, "logits": 5 * self.head(features)}

classifier = Both()

def plain(x):
    return classifier(x)["logits"]

def stated(x):
    return classifier(x)["logits"]

stated.ganmetrics_outputs = "logits"
"""


@pytest.fixture
def module(tmp_path: Path, cli: Cli) -> SimpleNamespace:
    """The logits of the classifier in my_module.py, by torch, for the images in fakes.npz."""
    Path("my_module.py").write_text(MODULE)
    fakes = images(80, 6)
    np.savez("fakes.npz", fakes.transpose(0, 2, 3, 1))
    space: dict[str, Callable] = {}
    exec(MODULE, space)
    with torch.no_grad():
        logits = space["plain"](torch.from_numpy(fakes)).double().numpy()
    return SimpleNamespace(value=score_by_hand(logits, 10)[0])


@pytest.mark.parametrize(
    ("features", "name"),
    [
        ("my_module:classifier", "is-my_module-classifier"),
        ("my_module:Both", "is-my_module-Both"),
        ("my_module:stated", "is-my_module-stated"),
        ("logits:my_module:plain", "is-my_module-plain"),
    ],
)
def test_on_the_command_line(features: str, name: str, module: SimpleNamespace, cli: Cli) -> None:
    ran = cli("is", "fakes.npz", "--features", features, "--json", "--quiet")
    score = json.loads(ran.out)
    assert score["metric"] == name
    assert score["value"] == pytest.approx(module.value, rel=1e-5)
    one_of_several = cli("evaluate", "fakes.npz", "fakes.npz", "-m", f"is@{features}", "--json", "--quiet")
    assert json.loads(one_of_several.out)["value"] == score["value"]


def test_kept_logits_on_the_command_line(module: SimpleNamespace, cli: Cli) -> None:
    """Statistics of one's own classifier, with the same option and without."""
    for features in ("logits:my_module:plain", "my_module:classifier"):
        made = cli("stats", "fakes.npz", "-m", "is", "--features", features, "-o", "kept.npz", "--overwrite", "--quiet")
        assert made.code == 0, made
        for options in ([], ["--features", features]):
            score = json.loads(cli("is", "kept.npz", *options, "--json", "--quiet").out)
            assert score["value"] == pytest.approx(module.value, rel=1e-5)
            assert score["metric"] == f"is-{features.removeprefix('logits:').replace(':', '-')}"


def test_a_classifier_that_does_not_say_so_on_the_command_line(module: SimpleNamespace, cli: Cli) -> None:
    assert cli("is", "fakes.npz", "--features", "my_module:plain", "--quiet").error == (
        "features my_module-plain: the Inception Score is over class logits, and it returns features alone; return "
        '{"features": ..., "logits": ...}, or say that its output is logits, by ganmetrics_outputs = "logits" on it or '
        "--features logits:MODULE:NAME"
    )


def constant(values: object) -> Callable[[Tensor], object]:
    def classifier(x: Tensor) -> object:
        return {"features": x.flatten(1).float(), "logits": values(x) if callable(values) else values}

    return classifier


WRONG = {
    "plain tensor": (
        lambda x: x.flatten(1).float(),
        OptionError,
        r"features <lambda>: the Inception Score is over class logits, and it returns features alone; return \{",
    ),
    "tuple": (
        lambda x: (x.flatten(1).float(), x.flatten(1).float()),
        OptionError,
        r"expected features, got \(Tensor of shape \(10, 90\), Tensor of shape \(10, 90\)\); return a dict such as "
        r'\{"features": ..., "logits": ...\}',
    ),
    "other keys": (
        lambda x: {"output": x, 3: x},
        OptionError,
        "expected a dict with some of features, logits, spatial, it has output, int",
    ),
    "rows": (
        constant(lambda x: torch.zeros(len(x) - 1, 10)),
        OptionError,
        r"expected logits, a tensor of shape \(10, D\) for 10 images, got \(9, 10\)",
    ),
    "maps": (constant(lambda x: x.float()), OptionError, r"for 10 images, got \(10, 3, 6, 5\); pool or flatten"),
    "no tensor": (constant([[0.0, 1.0]] * 10), OptionError, "expected logits, a tensor of shape .*, got "),
    "one class": (
        constant(lambda x: x[:, 0, 0, :1].float()),
        OptionError,
        r"expected logits of at least 2 classes, got \(10, 1\); a single logit x of two classes is the pair",
    ),
    "probabilities": (
        constant(lambda x: x.flatten(1).float().div(50).softmax(dim=1)),
        OptionError,
        "its logits are probabilities .* return what it computes before the softmax, or their logarithm",
    ),
    "probabilities in half precision": (
        constant(lambda x: x.flatten(1).float().div(50).softmax(dim=1).bfloat16()),
        OptionError,
        "its logits are probabilities",
    ),
    "shares of labels": (
        constant(lambda x: nn.functional.one_hot(torch.arange(len(x)) % 3)),
        OptionError,
        "its logits are probabilities",
    ),
    "NaN": (
        constant(lambda x: torch.full((len(x), 10), torch.nan)),
        StatisticsError,
        "features classifier: NaN or infinity in the logits vectors",
    ),
    "infinity": (
        constant(lambda x: torch.full((len(x), 10), torch.inf)),
        StatisticsError,
        "NaN or infinity in the logits vectors",
    ),
    "complex": (constant(lambda x: torch.zeros(len(x), 10, dtype=torch.complex64)), OptionError, "real numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_logits_that_are_none(case: str) -> None:
    function, kind, said = WRONG[case]
    with pytest.raises(kind, match=said) as caught:
        gm.inception_score(images(30, 1), features=function, batch_size=10, **OPTIONS)
    assert "\n" not in str(caught.value)
    with pytest.raises(kind, match=said):
        gm.InceptionScore(features=function, batch_size=10, **OPTIONS).update(images(10, 1))


def test_logits_of_another_number_of_classes_later() -> None:
    sizes = iter([10, 10, 11])
    changing = constant(lambda x: -torch.ones(len(x), next(sizes)))
    with pytest.raises(StatisticsError, match=r"expected vectors of shape \(N, 10\), got \(10, 11\)"):
        gm.inception_score(images(30, 1), features=changing, batch_size=10, **OPTIONS)


def test_the_logarithm_of_probabilities_is_as_good_as_logits() -> None:
    classifier = Classifier()
    options = {"splits": SPLITS, **OPTIONS}
    scores = [
        gm.inception_score(images(60, 1), features=function, **options)
        for function in (classifier, lambda x: {"logits": classifier(x)["logits"].log_softmax(dim=1)})
    ]
    assert scores[0].value == pytest.approx(scores[1].value, rel=1e-6)


def test_missing_logits_are_said_at_the_first_batch_of_the_real_side() -> None:
    """Not when all real images have been read for FID, which needs none."""
    seen: list[int] = []

    def features(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x.flatten(1).float()

    settings = gm.Settings(features=features, batch_size=10, **OPTIONS)
    with pytest.raises(OptionError, match="the Inception Score is over class logits"):
        gm.evaluate(images(50, 1), images(50, 2), ["fid", "is"], settings=settings)
    assert seen == [10]
    assert gm.evaluate(images(50, 1), images(50, 2), ["fid"], settings=settings)["fid"].value > 0


def test_no_features_beside_logits_are_said_before_anything_is_read() -> None:
    classifier = stating(Classifier(returns="logits"), "logits")
    with pytest.raises(OptionError, match=r"over feature vectors, which this extractor lacks \(it gives logits\)"):
        gm.fid(images(9, 1), images(9, 2), features=classifier, **OPTIONS)
    assert classifier.calls == 0
    with pytest.raises(
        OptionError, match=r'over feature vectors, and it returns logits alone; return \{"logits": ..., "f'
    ):
        gm.fid(images(9, 1), images(9, 2), features=Classifier(returns="only logits"), **OPTIONS)


@pytest.mark.parametrize("outputs", ["logit", ("features", "classes"), 3, [["logits"]], {"logits": True}])
def test_outputs_that_are_none(outputs: object) -> None:
    with pytest.raises(OptionError, match=r"^features Classifier: ganmetrics_outputs: expected one or several of feat"):
        gm.inception_score(images(20, 1), features=stating(Classifier(), outputs), **OPTIONS)


def test_a_pair_where_one_output_is_stated() -> None:
    classifier = stating(Classifier(returns="logits"), ("features", "logits"))
    with pytest.raises(OptionError, match="expected features and logits, got Tensor of shape"):
        gm.inception_score(images(20, 1), features=classifier, **OPTIONS)


def test_metrics_over_classes_by_ones_own_classifier() -> None:
    classifier, real, fakes = Classifier(), images(60, 1), images(60, 2)
    names = [str(i % 3) for i in range(60)]
    evaluator = gm.Evaluator(["class-fid", "intra-class-diversity", "is"], features=classifier, splits=1, **OPTIONS)
    evaluator.update(real, side="real", labels=names)
    evaluator.update(fakes, labels=names)
    scores = evaluator.compute()
    assert {name: score.metric for name, score in scores.items()} == {
        "class-fid": "class-fd-Classifier",
        "intra-class-diversity": "intra-class-diversity-Classifier",
        "is": "is-Classifier",
    }
    x, y = (classifier.by_hand(data)[0] for data in (real, fakes))
    distances, diversities = [], []
    for i in range(3):
        a, b = x[i::3], y[i::3]
        roots = np.sqrt(np.maximum(np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T)).real, 0)).sum()
        difference = a.mean(axis=0) - b.mean(axis=0)
        distances.append(difference @ difference + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * roots)
        unit = b / np.linalg.norm(b, axis=1, keepdims=True)
        cosines = unit @ unit.T
        diversities.append(1 - cosines[np.triu_indices(len(b), 1)].mean())
    assert scores["class-fid"].value == pytest.approx(np.mean(distances), rel=1e-4)
    assert scores["intra-class-diversity"].value == pytest.approx(np.mean(diversities), rel=1e-5)
    assert scores["is"].value == pytest.approx(score_by_hand(classifier.by_hand(fakes)[1], 1)[0], rel=1e-5)


def test_spatial_features_of_ones_own() -> None:
    classifier = Classifier()

    def network(x: Tensor) -> dict[str, Tensor]:
        return {**classifier(x), "spatial": classifier(x)["features"]}

    scores = gm.evaluate(images(40, 1), images(40, 2), ["fid", "sfid"], features=network, **OPTIONS)
    assert scores["sfid"].metric == "sfd-network"
    assert scores["sfid"].value == scores["fid"].value
