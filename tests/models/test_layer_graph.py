import keras
import pytest

from cnn.models.layer_graph import LayerNode, layer_graph
from cnn.models.registry import NETWORKS, ModelSettings, build_network


def test_where_a_network_branches() -> None:
    image = keras.Input((8, 8, 3), name="image")
    left = keras.layers.Conv2D(4, 3, padding="same", name="left")(image)
    right = keras.layers.Conv2D(4, 1, name="right")(image)
    model = keras.Model(image, keras.layers.Add(name="sum")([right, left]))
    assert layer_graph(model) == [
        LayerNode("image", "InputLayer", [], (8, 8, 3)),
        LayerNode("right", "Conv2D", ["image"], (8, 8, 4)),
        LayerNode("left", "Conv2D", ["image"], (8, 8, 4)),
        LayerNode("sum", "Add", ["right", "left"], (8, 8, 4)),
    ]


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet18-32"])
def test_every_layer_but_the_image_has_inputs(name: str) -> None:
    side = max(32, NETWORKS[name].smallest_image)
    nodes = layer_graph(build_network(ModelSettings(model=name), (side, side, 3), 10, seed=1))
    names = {node.name for node in nodes}
    assert [node.layer_type for node in nodes if not node.inputs] == ["InputLayer"]
    assert all(set(node.inputs) <= names for node in nodes)
