//! What components print, line by line on standard error, each line with the component's name.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// What happens to the output of components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It is shown on standard error.
    Shown,
    /// Nobody sees it.
    Dropped,
}

/// One of the two standard streams of one instance. All handles to it share the unfinished line.
#[derive(Clone)]
pub struct Lines(Arc<Mutex<Line>>);

struct Line {
    component: Arc<str>,
    unfinished: Vec<u8>,
}

impl Lines {
    /// A stream whose lines start with the name of `component`.
    pub fn new(component: Arc<str>) -> Self {
        Self(Arc::new(Mutex::new(Line {
            component,
            unfinished: Vec::new(),
        })))
    }

    fn push(&self, bytes: &[u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes);
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(piece);
            // A line without an end must not grow without one.
            if piece.ends_with(b"\n") || self.unfinished.len() > LONGEST_LINE {
                self.print();
            }
        }
    }

    fn print(&mut self) {
        let line = String::from_utf8_lossy(&self.unfinished);
        let line = format!("{}: {}\n", self.component, line.trim_end_matches('\n'));
        // Nobody reads it: then it is lost, and serving goes on.
        let _ = io::stderr().lock().write_all(line.as_bytes());
        self.unfinished.clear();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.unfinished.is_empty() {
            self.print();
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LONGEST_LINE)
    }
}

impl Pollable for Lines {
    // Written out, as `async_trait` has it.
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

const LONGEST_LINE: usize = 64 * 1024;
