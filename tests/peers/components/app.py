"""A component that answers requests, as the pages of componentize-py begin with one."""

from wit_world import exports
from componentize_py_types import Ok
from wit_world.imports.types import (
    IncomingRequest,
    ResponseOutparam,
    OutgoingResponse,
    Fields,
    OutgoingBody,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, _: IncomingRequest, response_out: ResponseOutparam) -> None:
        response = OutgoingResponse(
            Fields.from_list([("content-type", b"text/plain")])
        )
        response_body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with response_body.write() as stream:
            stream.blocking_write_and_flush(b"hello from Python\n")
        OutgoingBody.finish(response_body, None)
