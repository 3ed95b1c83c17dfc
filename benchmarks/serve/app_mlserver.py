"""The model behind MLServer: a custom runtime, since there is none for ONNX."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel


class OnnxRuntime(MLModel):
    """onnxruntime behind the Open Inference Protocol."""

    async def load(self) -> bool:
        """Load the model."""
        self._onnx = OnnxModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The probability of each row of the first tensor."""
        features = NumpyCodec.decode_input(payload.inputs[0])
        probability = self._onnx.probability(features)
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output("probability", probability[:, None])],
        )
