//! A network that answers from a script.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};

use crate::ports::{FetchLimits, HttpClient, HttpError, PortFuture};

type Answer = Box<dyn Fn(&Request<Bytes>) -> Result<Response<Bytes>, HttpError>>;

/// Answers requests by their URL (without query); what no script names is unreachable.
#[derive(Default)]
pub struct ScriptedHttp {
    answers: RefCell<BTreeMap<String, Answer>>,
    requests: RefCell<Vec<Request<Bytes>>>,
    yields: Cell<usize>,
}

impl fmt::Debug for ScriptedHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.answers.borrow().keys())
            .finish()
    }
}

impl ScriptedHttp {
    /// Lets `answer` answer requests to `url`.
    pub fn on(
        &self,
        url: &str,
        answer: impl Fn(&Request<Bytes>) -> Result<Response<Bytes>, HttpError> + 'static,
    ) {
        let answer: Answer = Box::new(answer);
        self.answers.borrow_mut().insert(url.to_owned(), answer);
    }

    /// Answers requests to `url` with 200 and `body`.
    pub fn json(&self, url: &str, body: impl Into<Bytes>) {
        let body = body.into();
        self.on(url, move |_| Ok(Response::new(body.clone())));
    }

    /// Lets requests to `url` fail.
    pub fn fail(&self, url: &str, error: HttpError) {
        self.on(url, move |_| Err(error));
    }

    /// Lets each answer come only after that many polls, so that requests interleave.
    pub fn answer_after(&self, polls: usize) {
        self.yields.set(polls);
    }

    /// The requests sent so far.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.requests.borrow().clone()
    }

    /// Drops the record of the requests sent so far.
    pub fn forget(&self) {
        self.requests.take();
    }

    /// How many requests went to `url`.
    pub fn count(&self, url: &str) -> usize {
        let requests = self.requests.borrow();
        requests
            .iter()
            .filter(|request| target(request) == url)
            .count()
    }
}

fn target(request: &Request<Bytes>) -> String {
    let url = request.uri().to_string();
    url.split('?').next().unwrap_or_default().to_owned()
}

impl HttpClient for ScriptedHttp {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: FetchLimits,
    ) -> PortFuture<'_, Result<Response<Bytes>, HttpError>> {
        self.requests.borrow_mut().push(request.clone());
        let answer = match self.answers.borrow().get(&target(&request)) {
            Some(answer) => answer(&request),
            None => Err(HttpError::Unreachable),
        };
        let mut yields = self.yields.get();
        Box::pin(async move {
            poll_fn(|context| match yields.checked_sub(1) {
                Some(left) => {
                    yields = left;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(()),
            })
            .await;
            match answer {
                Ok(response) if response.body().len() > limits.max_body_bytes => {
                    Err(HttpError::TooLarge)
                }
                other => other,
            }
        })
    }
}
