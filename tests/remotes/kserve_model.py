"""A model server made with KServe's SDK, for the Python that has it: `kserve_model.py HTTP GRPC`.

Its model `orders` reads `customer` BYTES[-1] and `amount` FP64[-1], and gives `risk` FP64[-1] and
`action` BYTES[-1]. KServe listens on every address of the machine; here it is kept to loopback.
"""

import sys

import grpc.aio
import numpy as np
import uvicorn
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput


class Orders(Model):
    """How likely it is that an order is not paid."""

    def __init__(self):
        super().__init__("orders")
        self.ready = True

    def predict(self, payload: InferRequest, headers=None, response_headers=None):
        given = {one.name: one.as_numpy() for one in payload.inputs}
        customers = [
            one.decode() if isinstance(one, bytes) else str(one) for one in given["customer"]
        ]
        if "nobody" in customers:
            raise InvalidInput("nobody orders nothing")
        risk = np.minimum(1.0, given["amount"].astype(np.float64) / 1000)
        action = np.array(["review" if one > 0.5 else "ship" for one in risk], dtype=object)
        outputs = []
        for name, datatype, values in (("risk", "FP64", risk), ("action", "BYTES", action)):
            output = InferOutput(name, [len(values)], datatype)
            output.set_data_from_numpy(values, binary_data=False)
            outputs.append(output)
        return InferResponse(payload.id or "", self.name, outputs)

    def get_input_types(self):
        return [
            {"name": "customer", "datatype": "BYTES", "shape": [-1]},
            {"name": "amount", "datatype": "FP64", "shape": [-1]},
        ]

    def get_output_types(self):
        return [
            {"name": "risk", "datatype": "FP64", "shape": [-1]},
            {"name": "action", "datatype": "BYTES", "shape": [-1]},
        ]


def on_loopback():
    """Replaces the addresses that KServe has written into its code."""
    make, add = uvicorn.Config.__init__, grpc.aio._server.Server.add_insecure_port

    def made(self, *arguments, **named):
        make(self, *arguments, **{**named, "host": "127.0.0.1"})

    def added(self, address):
        return add(self, address.replace("[::]", "127.0.0.1"))

    uvicorn.Config.__init__ = made
    grpc.aio._server.Server.add_insecure_port = added


if __name__ == "__main__":
    on_loopback()
    ModelServer(http_port=int(sys.argv[1]), grpc_port=int(sys.argv[2])).start([Orders()])
