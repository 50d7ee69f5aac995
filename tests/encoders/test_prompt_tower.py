"""The prompt towers against the padded path driven from outside, and their gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fgvr.encoders import HfDualEncoder, load_encoder
from fgvr.encoders.prompt_tower import CausalPromptTower, GenericPromptTower, chunked_features, features_chunked
from fgvr.errors import EncoderError

from . import tiny


@pytest.fixture(scope="module", params=tiny.KINDS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HfDualEncoder:
    return load_encoder(tiny.save(request.param, tmp_path_factory.mktemp(request.param)), device="cpu")


@pytest.fixture(scope="module")
def clip64(tmp_path_factory: pytest.TempPathFactory) -> HfDualEncoder:
    return load_encoder(tiny.save("clip", tmp_path_factory.mktemp("clip64")), device="cpu", dtype="float64")


def padded_reference(encoder: HfDualEncoder, context: torch.Tensor, names: list[str]) -> torch.Tensor:
    """CoOp's way: placeholder words in the text, tokenised whole, padded to full length, embeddings overwritten."""
    letters = encoder.model.config.model_type == "siglip2"
    holder = "q" * len(context) if letters else " ".join(["the"] * len(context))
    texts = [f"{holder} {name.replace('_', ' ')}." for name in names]
    inputs = encoder.tokenizer(
        texts, padding="max_length", max_length=encoder.max_positions, truncation=True, return_tensors="pt"
    )
    at = int((inputs.input_ids[0] == encoder.tokenizer.convert_tokens_to_ids("q" if letters else "the")).int().argmax())
    mask = {} if "siglip" in encoder.model.config.model_type else {"attention_mask": inputs.attention_mask}

    def overwrite(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, at : at + len(context)] = context
        return output

    handle = encoder.model.text_model.get_input_embeddings().register_forward_hook(overwrite)
    try:
        output = encoder.model.get_text_features(input_ids=inputs.input_ids, **mask).pooler_output
    finally:
        handle.remove()
    return output / output.norm(dim=-1, keepdim=True)


def _gradient(features: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = (features * weights.to(features.dtype)).sum() + features[:, 0].exp().sum()
    return torch.autograd.grad(loss, context)[0]


def _relative(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


def _random_context(encoder: HfDualEncoder, length: int = 4) -> torch.Tensor:
    noise = torch.randn(length, encoder.prompt_tower().embedding_dim, generator=torch.Generator().manual_seed(7))
    return (0.5 * noise).to(encoder.dtype).requires_grad_()


def test_real_words_as_context_equal_the_sentence(encoder: HfDualEncoder) -> None:
    tower = encoder.prompt_tower()
    tower.set_names(tiny.NAMES)
    context = tower.initial_context(99, words="a photo of a")
    assert context.shape[1] == tower.embedding_dim
    expected = encoder.encode_texts([f"a photo of a {name.replace('_', ' ')}." for name in tiny.NAMES])
    np.testing.assert_allclose(tower(context).numpy(), expected, atol=1e-5)


def test_left_padding_is_followed(tmp_path: Path) -> None:
    folder = tiny.save("siglip2", tmp_path)
    tiny.letter_tokenizer(64, padding_side="left").save_pretrained(folder)
    encoder = load_encoder(folder, device="cpu")
    assert encoder.tokenizer.padding_side == "left"
    tower = encoder.prompt_tower()
    tower.set_names(tiny.NAMES)
    expected = encoder.encode_texts([f"a photo of a {name.replace('_', ' ')}." for name in tiny.NAMES])
    np.testing.assert_allclose(tower(tower.initial_context(1, words="a photo of a")).numpy(), expected, atol=1e-5)


def test_value_and_gradient_equal_the_padded_path(encoder: HfDualEncoder) -> None:
    tower = encoder.prompt_tower()
    tower.set_names(tiny.NAMES)
    context = _random_context(encoder)
    features, reference = tower(context), padded_reference(encoder, context, tiny.NAMES)
    assert features.shape == (len(tiny.NAMES), encoder.dim)
    torch.testing.assert_close(features, reference, atol=2e-6, rtol=0)
    assert _relative(_gradient(features, context), _gradient(reference, context)) < 1e-5


def test_gradient_in_double_precision(clip64: HfDualEncoder) -> None:
    tower = clip64.prompt_tower()
    tower.set_names(tiny.NAMES)
    context = _random_context(clip64, length=7)
    gradient = _gradient(tower(context), context)
    assert _relative(gradient, _gradient(padded_reference(clip64, context, tiny.NAMES), context)) < 1e-9


def test_one_layer_tower(tmp_path: Path) -> None:
    """First and last layer at once: the prefix has no output anyone reads."""
    encoder = load_encoder(tiny.save("clip", tmp_path, layers=1), device="cpu")
    tower = encoder.prompt_tower()
    tower.set_names(tiny.NAMES)
    context = _random_context(encoder)
    torch.testing.assert_close(tower(context), padded_reference(encoder, context, tiny.NAMES), atol=2e-6, rtol=0)


@pytest.mark.parametrize("chunk", [1, 2, 4, 100])
def test_chunked_gradient_equals_the_full_one(encoder: HfDualEncoder, chunk: int) -> None:
    tower = encoder.prompt_tower()
    tower.set_names(tiny.NAMES)
    context = _random_context(encoder)
    full, pieces = tower(context), chunked_features(tower, context, chunk=chunk)
    torch.testing.assert_close(pieces, full, atol=2e-6, rtol=0)
    assert _relative(_gradient(pieces, context), _gradient(full, context)) < 1e-5
    loss = features_chunked(tower, context, lambda features: (features[:, 1] ** 2).sum(), chunk=chunk)
    expected = torch.autograd.grad((tower(context)[:, 1] ** 2).sum(), context)[0]
    assert _relative(torch.autograd.grad(loss, context)[0], expected) < 1e-5


def test_a_subset_of_classes_in_its_own_order(encoder: HfDualEncoder) -> None:
    tower = encoder.prompt_tower()
    tower.set_names(tiny.NAMES)
    context = _random_context(encoder).detach()
    torch.testing.assert_close(tower(context, [4, 0, 2]), tower(context)[[4, 0, 2]], atol=2e-6, rtol=0)


def test_architecture_chooses_the_tower(encoder: HfDualEncoder) -> None:
    causal = encoder.model.config.model_type == "clip"
    assert type(encoder.prompt_tower()) is (CausalPromptTower if causal else GenericPromptTower)


def test_only_the_context_gets_a_gradient(encoder: HfDualEncoder) -> None:
    tower = encoder.prompt_tower()
    tower.set_names(["fox"])
    context = _random_context(encoder)
    tower(context).sum().backward()
    assert context.grad is not None
    assert float(context.grad.abs().max()) > 0
    assert all(weight.grad is None for weight in encoder.model.parameters())


def test_random_context_follows_the_seed(encoder: HfDualEncoder) -> None:
    tower = encoder.prompt_tower()
    one = tower.initial_context(500, seed=3)
    assert torch.equal(one, tower.initial_context(500, seed=3))
    assert not torch.equal(one, tower.initial_context(500, seed=4))
    assert float(one.std()) == pytest.approx(0.02, rel=0.02)
    assert one.dtype == torch.float32


def test_a_long_name_is_cut_and_keeps_its_end_token(encoder: HfDualEncoder) -> None:
    tower = encoder.prompt_tower()
    tower.set_names(["fox " * 300, "fox " * 300 + "wren"])
    context = _random_context(encoder)
    features = tower(context)
    torch.testing.assert_close(features[0], features[1])
    reference = padded_reference(encoder, context, ["fox " * 300])
    torch.testing.assert_close(features[:1], reference, atol=2e-6, rtol=0)


def test_a_name_that_spells_the_end_token_does_not_end_the_text(encoder: HfDualEncoder) -> None:
    end, tower = encoder.tokenizer.eos_token, encoder.prompt_tower()
    context = _random_context(encoder).detach()
    tower.set_names([f"grey {end}fox", "grey fox"])
    features = tower(context)
    torch.testing.assert_close(features[0], features[1])


def test_misuse_has_a_remedy(encoder: HfDualEncoder) -> None:
    tower = encoder.prompt_tower()
    with pytest.raises(EncoderError, match="Call set_names"):
        tower(_random_context(encoder))
    with pytest.raises(EncoderError, match="at least one class name"):
        tower.set_names([])
    tower.set_names(["fox"])
    with pytest.raises(EncoderError, match="Use fewer context tokens"):
        tower(torch.zeros(encoder.max_positions, tower.embedding_dim))
    with pytest.raises(ValueError, match="chunk"):
        chunked_features(tower, _random_context(encoder), chunk=0)  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.lists(st.sampled_from(tiny.WORDS[4:16]), min_size=1, max_size=8).map(" ".join), min_size=1, max_size=6
    ),
    length=st.integers(1, 9),
)
def test_any_names_and_length_equal_the_padded_path(clip64: HfDualEncoder, names: list[str], length: int) -> None:
    tower = clip64.prompt_tower()
    tower.set_names(names)
    context = _random_context(clip64, length).detach()
    torch.testing.assert_close(tower(context), padded_reference(clip64, context, names), atol=1e-12, rtol=0)


def test_the_hook_is_gone_after_a_failing_pass(tmp_path: Path) -> None:
    encoder = load_encoder(tiny.save("bert", tmp_path), device="cpu")
    tower = encoder.prompt_tower()
    tower.set_names(["fox"])
    before = encoder.encode_texts(["a fox."])
    with pytest.raises(RuntimeError):
        tower(torch.zeros(2, tower.embedding_dim + 1))
    np.testing.assert_array_equal(encoder.encode_texts(["a fox."]), before)


def test_chunked_features_keep_nothing_but_the_context(encoder: HfDualEncoder) -> None:
    """Between the passes the graph holds no activation, and in the second pass one chunk's at a time."""
    tower = encoder.prompt_tower()
    tower.set_names(tiny.NAMES)
    context, sizes = _random_context(encoder), []
    sizes_of = torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t)
    with sizes_of:
        features = chunked_features(tower, context, chunk=2)
    assert sizes == [context.numel()]
    features.sum().backward()
    assert context.grad is not None


def test_half_precision_tower_takes_and_returns_float32(tmp_path: Path) -> None:
    folder = tiny.save("clip", tmp_path)
    half, full = (load_encoder(folder, device="cpu", dtype=dtype).prompt_tower() for dtype in ("bfloat16", "float32"))
    context = full.initial_context(4, seed=1).requires_grad_()
    half.set_names(tiny.NAMES)
    full.set_names(tiny.NAMES)
    features = half(context)
    assert features.dtype == torch.float32
    assert float((features * full(context)).detach().sum(dim=-1).min()) > 0.99
    features[:, 0].sum().backward()
    assert context.grad is not None
    assert context.grad.dtype == torch.float32


def test_another_activation_equals_the_padded_path(tmp_path: Path) -> None:
    """OpenCLIP's checkpoints have GELU; OpenAI's QuickGELU takes a way of its own."""
    encoder = load_encoder(tiny.save("clip", tmp_path), device="cpu")
    tower = encoder.prompt_tower()
    tower.set_names(tiny.NAMES)
    context = _random_context(encoder)
    quick = tower(context)
    for layer in encoder.model.text_model.encoder.layers:
        layer.mlp.activation_fn = torch.nn.GELU()
    features, reference = tower(context), padded_reference(encoder, context, tiny.NAMES)
    torch.testing.assert_close(features, reference, atol=2e-6, rtol=0)
    assert _relative(_gradient(features, context), _gradient(reference, context)) < 1e-5
    assert float((quick - features).detach().abs().max()) > 1e-4


def test_autocast_reaches_the_second_pass_of_chunks(encoder: HfDualEncoder) -> None:
    """A backward pass starts without autocast; the chunks' second forward pass must be the first one again."""
    tower = encoder.prompt_tower()
    tower.set_names(tiny.NAMES)
    context = _random_context(encoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        full = tower(context)
        pieces = chunked_features(tower, context, chunk=len(tiny.NAMES))
    assert full.dtype == pieces.dtype == torch.float32
    expected = _gradient(full, context)
    assert _relative(_gradient(pieces, context), expected) < 1e-6
    assert 1e-4 < _relative(_gradient(tower(context), context), expected) < 0.1
