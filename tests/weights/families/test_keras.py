"""Names of Keras applications that depend on the session and on the version."""

from jaxseg.weights.families import keras
from tests.weights import stored


def test_unnamed_layers_are_numbered_through_a_session_and_logits_were_renamed():
    entries = stored.entries("keras_xception")
    names = {"predictions": "Logits"}
    for i in range(4):
        count = f"_{i}" if i else ""
        names |= {f"conv2d{count}": f"conv2d_{9 - i}"}
        names |= {f"batch_normalization{count}": f"batch_normalization_{i + 11}"}
    renamed = {
        f"{names.get(layer, layer)}/{kind}": value
        for (layer, _, kind), value in ((k.partition("/"), v) for k, v in entries.items())
    }
    assert renamed.keys() != entries.keys()
    found = [keras.recognise(each) for each in (entries, renamed)]
    first, second = ({k: v.shape for k, v in each.variables.items()} for each in found if each)
    assert first == second
