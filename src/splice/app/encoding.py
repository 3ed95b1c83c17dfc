"""The sentence encoder that settings name, for whoever compares texts by their meaning."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from splice.app.settings import Settings

Encode = Callable[[Sequence[str]], Sequence[Sequence[float]]]


def encoder_of(settings: Settings) -> Encode | None:
    """Texts to vectors, or None where `cache.encoder` is not set.

    The model is loaded when the first text comes: most processes never compare texts.

    Raises:
        SettingsError: From what is returned: the model cannot be had.
    """
    if not settings.cache.encoder:
        return None
    loaded: list[Encode] = []
    loading = threading.Lock()

    def encode(texts: Sequence[str]) -> Sequence[Sequence[float]]:
        with loading:
            if not loaded:
                loaded.append(_loaded(settings))
        return loaded[0](texts)

    return encode


def _loaded(settings: Settings) -> Encode:
    from splice.adapters.caches.encoder import OnnxEncoder, packaged_encoder  # needs onnxruntime

    if settings.cache.encoder == "packaged":
        return packaged_encoder().encode
    folder = settings.path(settings.cache.encoder)
    return OnnxEncoder(folder / "model.onnx", folder / "tokenizer.json").encode
