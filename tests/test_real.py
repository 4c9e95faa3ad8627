"""Real ImageNet weights on real photos, against keras.applications' own pipeline."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_image
from sklearn.linear_model import LogisticRegression

import transferzoo as tz
from transferzoo.features.extract import split_at_features
from transferzoo.models.construct import backbone_of, connect
from transferzoo.models.prediction import predict

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("real_weights")]

MODULES = {"mobilenet": keras.applications.mobilenet, "mobilenet_v2_035": keras.applications.mobilenet_v2}
BACKBONES = list(MODULES)

# ImageNet's numbers. china.jpg: a summer palace by a lake; flower.jpg: the many small petals of a dahlia.
BUILDINGS = {449: "boathouse", 442: "bell cote", 497: "church", 663: "monastery", 698: "palace"}
PETALS = {599: "honeycomb", 985: "daisy", 108: "sea anemone", 991: "coral fungus", 994: "gyromitra"}
PETALS |= {996: "hen-of-the-woods"}


@pytest.fixture
def photos():
    """Two photos that scikit-learn ships, 427×640."""
    return np.stack([load_sample_image(name) for name in ("china.jpg", "flower.jpg")])


def features_of(model, images):
    extractor = keras.Model(model.inputs[0], connect(model, model.inputs[0])[0])
    return extractor.predict(images, verbose=0)


def keras_pipeline(name, images, size, folder):
    """Features as keras.applications' documentation tells one to compute them."""
    record = tz.backbone_info(name)
    # the path, as Keras looks up KERAS_HOME when it is imported and no later
    arguments = {**record.arguments, "weights": folder / record.weights[0].file}
    network = record.resolve_builder()(input_shape=(size, size, 3), **arguments)
    # one graph, as ours is: TensorFlow turns its x / 127.5 into x * (1 / 127.5), NumPy does not, and the
    # network makes 1.2e-5 of its largest feature of that last bit of a pixel
    pixels = keras.Input(images.shape[1:])
    resized = keras.ops.image.resize(pixels, (size, size), data_format="channels_last")
    pipeline = keras.Model(pixels, network(MODULES[name].preprocess_input(resized)))
    return pipeline.predict(images, verbose=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_published_weights_load_without_a_network(name, real_weights):
    network = backbone_of(tz.build(name, 10))
    witness = network.__class__.from_config(network.get_config())
    witness.load_weights(real_weights / tz.backbone_info(name).weights[0].file)
    assert all(map(np.array_equal, network.get_weights(), witness.get_weights()))


@pytest.mark.parametrize("size", [96, 224])
@pytest.mark.parametrize("name", BACKBONES)
def test_features_of_real_photos_are_those_of_keras_applications(name, size, photos, real_weights):
    ours = features_of(tz.build(name, 10, input_shape=photos.shape[1:], image_size=size), photos)
    theirs = keras_pipeline(name, photos, size, real_weights)
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


@pytest.fixture
def top_five(photos, real_weights):
    """ImageNet's own classifier on the features of `build`: the five likeliest numbers of each photo."""
    full = keras.applications.MobileNet(weights=real_weights / "mobilenet_1_0_224_tf.h5")
    names = [layer.name for layer in full.layers]
    outputs = features_of(tz.build("mobilenet", 10, input_shape=photos.shape[1:], image_size=224), photos)
    for layer in full.layers[names.index("conv_pw_13_relu") + 1 :]:
        outputs = layer(outputs, training=False) if layer.name == "dropout" else layer(outputs)
    probabilities = keras.ops.convert_to_numpy(outputs)
    return np.argsort(-probabilities, axis=1)[:, :5], probabilities.max(axis=1)


def test_imagenets_classifier_sees_a_building_on_the_photo_of_a_palace(top_five):
    (numbers, _), (likeliest, _) = top_five
    assert len(set(numbers) & set(BUILDINGS)) >= 3
    assert likeliest > 0.3


def test_imagenets_classifier_sees_something_of_many_petals_on_the_photo_of_a_dahlia(top_five):
    (_, numbers), (_, likeliest) = top_five
    assert len(set(numbers) & set(PETALS)) >= 3
    assert likeliest > 0.2


@pytest.fixture(scope="module")
def cifar10(shared_home):
    """2,000 training and 1,000 test images of CIFAR-10."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(shared_home))
        return tz.load_dataset("cifar10").subset(train=2000, test=1000, seed=0)


def linear_accuracy(name, size, data):
    """Test accuracy of a linear classifier on pooled, frozen features."""
    extractor, _ = split_at_features(tz.build(name, 10, image_size=size))
    classifier = LogisticRegression(C=0.01, max_iter=1000)
    classifier.fit(predict(extractor, data.x_train), data.y_train)
    return classifier.score(predict(extractor, data.x_test), data.y_test)


# measured: 0.727 and 0.675
@pytest.mark.parametrize(("name", "least"), [("mobilenet", 0.69), ("mobilenet_v2_035", 0.64)])
def test_enlarged_images_give_features_that_a_linear_classifier_can_use(name, least, cifar10):
    assert linear_accuracy(name, 96, cifar10) > least


# measured: 0.182 and 0.299
@pytest.mark.parametrize(("name", "most"), [("mobilenet", 0.25), ("mobilenet_v2_035", 0.35)])
def test_images_left_at_32_pixels_give_features_of_little_use(name, most, cifar10):
    assert linear_accuracy(name, 32, cifar10) < most


def test_small_images_are_enlarged_by_default(cifar10):
    assert backbone_of(tz.build("mobilenet", 10)).input_shape == (None, 96, 96, 3)
