//! Bodies that pass through the guest: one that is counted on its way, and one of unknown length
//! that may be there already, so that it can be sent with its length.

use std::cell::Cell;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use spin_sdk::wasip3::clocks::monotonic_clock;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields};
use spin_sdk::wasip3::wit_bindgen::{StreamReader, StreamResult, StreamWriter};
use spin_sdk::wasip3::{wit_future, wit_stream};

use crate::message::{Trailers, contents, spawn};

/// A longer answer is not small: it goes on as it comes.
const SMALL_BYTES: usize = 16 * 1024;
/// For this long is what is there already still on its way from the host. Without its length an
/// answer takes 44 ms more (Spin leaves Nagle's algorithm on).
const MEASURE_NANOSECONDS: u64 = 5_000_000;
/// Somebody who went away is noticed no later than after this.
const IDLE_NANOSECONDS: u64 = 1_000_000_000;
const CHUNK_BYTES: usize = 64 * 1024;

/// What is said at the end of a body.
type End = Result<Option<Fields>, ErrorCode>;

/// A body of unknown length as it goes on, and its length if that is known after all: it is
/// small, all there, and has no trailers.
pub(crate) async fn measured(
    mut body: StreamReader<u8>,
    trailers: Trailers,
) -> (Option<StreamReader<u8>>, Trailers, Option<usize>) {
    let mut clock = pin!(monotonic_clock::wait_for(MEASURE_NANOSECONDS));
    let mut begun = Vec::with_capacity(SMALL_BYTES);
    while begun.len() < SMALL_BYTES {
        let mut read = pin!(body.read(begun));
        let done = before(clock.as_mut(), read.as_mut()).await;
        let late = done.is_none();
        let (result, bytes) = done.unwrap_or_else(|| read.as_mut().cancel());
        begun = bytes;
        match result {
            StreamResult::Complete(_) if !late => {}
            StreamResult::Dropped => return ended(begun, trailers, clock).await,
            _ => break,
        }
    }
    if begun.is_empty() {
        // Nothing was taken out: the host goes on alone.
        return (Some(body), trailers, None);
    }
    let (body, trailers) = relay(begun, Some(body), trailers.into_future(), Limit::none());
    (Some(body), trailers, None)
}

/// The same for a body that is all there; whether it is whole, the trailers say.
async fn ended(
    body: Vec<u8>,
    trailers: Trailers,
    clock: Pin<&mut impl Future<Output = ()>>,
) -> (Option<StreamReader<u8>>, Trailers, Option<usize>) {
    let mut trailers = Box::pin(trailers.into_future());
    let end = match before(clock, trailers.as_mut()).await {
        Some(Ok(None)) => {
            let length = body.len();
            let (contents, trailers) = contents(body.into());
            return (contents, trailers, Some(length));
        }
        end => end,
    };
    let trailers = async move {
        match end {
            Some(end) => end,
            None => trailers.await,
        }
    };
    let (body, trailers) = relay(body, None, trailers, Limit::none());
    (Some(body), trailers, None)
}

/// The outcome of `future`, if it comes before `clock` is over.
async fn before<T>(
    mut clock: Pin<&mut impl Future<Output = ()>>,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => clock.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// How long a body may be.
pub(crate) struct Limit {
    bytes: u64,
    exceeded: Rc<Cell<bool>>,
}

impl Limit {
    /// At most `bytes`; `exceeded` says when it was longer.
    pub(crate) fn new(bytes: u64, exceeded: Rc<Cell<bool>>) -> Self {
        Limit { bytes, exceeded }
    }

    fn none() -> Self {
        Limit::new(u64::MAX, Rc::default())
    }
}

/// The body up to its limit.
pub(crate) fn counted(
    body: StreamReader<u8>,
    trailers: Trailers,
    limit: Limit,
) -> (StreamReader<u8>, Trailers) {
    relay(Vec::new(), Some(body), trailers.into_future(), limit)
}

/// `begun`, then the rest of `body`, as it comes. A body over the limit, and one that broke off,
/// ends with an error in place of trailers, so that nobody can take it for whole.
fn relay(
    begun: Vec<u8>,
    body: Option<StreamReader<u8>>,
    trailers: impl Future<Output = End> + 'static,
    limit: Limit,
) -> (StreamReader<u8>, Trailers) {
    let (mut writer, reader) = wit_stream::new();
    let (end, ending) = wit_future::new(|| Err(ErrorCode::HttpProtocolError));
    spawn(async move {
        if !writer.write_all(begun).await.is_empty() {
            // The other side wants no more. Dropping `end` says that this is not all.
            return;
        }
        if let Some(body) = body
            && !rest(body, &mut writer, limit).await
        {
            return;
        }
        drop(writer);
        let _unwanted = end.write(trailers.await).await;
    });
    (reader, ending)
}

/// Passes on all that comes; false when that is not the whole body.
async fn rest(mut body: StreamReader<u8>, writer: &mut StreamWriter<u8>, limit: Limit) -> bool {
    let mut left = limit.bytes;
    loop {
        let mut read = pin!(body.read(Vec::with_capacity(CHUNK_BYTES)));
        let (result, chunk) = loop {
            let clock = pin!(monotonic_clock::wait_for(IDLE_NANOSECONDS));
            if let Some(outcome) = before(clock, read.as_mut()).await {
                break outcome;
            }
            // Nothing comes: a write of nothing tells whether anybody still waits for it.
            if writer.write(Vec::new()).await.0 == StreamResult::Dropped {
                return false;
            }
        };
        match left.checked_sub(chunk.len() as u64) {
            Some(rest) => left = rest,
            None => {
                limit.exceeded.set(true);
                return false;
            }
        }
        if !writer.write_all(chunk).await.is_empty() {
            return false;
        }
        if !matches!(result, StreamResult::Complete(_)) {
            return true;
        }
    }
}
