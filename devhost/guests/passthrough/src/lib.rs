//! Forwards every request to the upstream named by the Spin variable `upstream`, unchanged but
//! for the headers that may not be forwarded. No policy, no parsing: the floor that the gate is
//! measured against. How is in `forward`.

mod forward;

use spin_sdk::wasip3;
use wasip3::http::types::{ErrorCode, Request, Response};

struct Passthrough;

wasip3::http::service::export!(Passthrough with_types_in wasip3);

impl wasip3::exports::http::handler::Guest for Passthrough {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        forward::forward(request, &[], false).await
    }
}
