//! Answers every request with 200 and a fixed body: what is measured is the host alone.

use spin_sdk::wasip3;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};

struct Noop;

wasip3::http::service::export!(Noop with_types_in wasip3);

impl wasip3::exports::http::handler::Guest for Noop {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let headers = Fields::new();
        // Without a length the answer goes out in three writes and waits for a delayed ACK.
        let length = BODY.len().to_string().into_bytes();
        headers
            .append("content-length", &length)
            .map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
        let (mut body, contents) = wit_stream::new();
        let (trailers_writer, trailers) = wit_future::new(|| Ok(None));
        // Dropping the writer resolves the trailers with the default: none.
        drop(trailers_writer);
        let (response, _sent) = Response::new(headers, Some(contents), trailers);
        wasip3::spawn(async move {
            body.write_all(BODY.to_vec()).await;
        });
        Ok(response)
    }
}

const BODY: &[u8] = b"ok\n";
