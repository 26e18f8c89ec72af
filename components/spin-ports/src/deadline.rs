//! An end to waiting: no host call and no client may hold a request for ever.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use spin_sdk::wasip3::clocks::monotonic_clock;

/// The outcome of `future`, or `None` when it takes longer; it is then cancelled.
pub(crate) async fn within<T>(millis: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut end = pin!(monotonic_clock::wait_for(millis.saturating_mul(1_000_000)));
    poll_fn(|context| {
        if let Poll::Ready(outcome) = future.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        // The timer starts only when there is something to wait for.
        end.as_mut().poll(context).map(|()| None)
    })
    .await
}
