//! Forwards as the guest `passthrough` does, but takes apart only what has to be: a request without
//! a body is not opened, and an answer with no header to leave out is handed on as it came. The
//! least that passing on costs on this host.

#[path = "../../passthrough/src/forward.rs"]
mod forward;

use spin_sdk::wasip3;
use wasip3::http::types::{ErrorCode, Request, Response};

struct Whole;

wasip3::http::service::export!(Whole with_types_in wasip3);

impl wasip3::exports::http::handler::Guest for Whole {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        forward::forward(request, &[], true).await
    }
}
