//! Reads the configuration's file, which each instance does before its first answer.
//!
//! The host gives 64 kB at a time, and has another thread fetch them: asked for one after the
//! other, as `std::fs::read` does, the pieces of a large file are mostly waiting. Here several
//! are on their way at the same time.

use std::collections::VecDeque;

use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};
use wasip2::io::streams::InputStream;

/// Where the manifest's `files` mounts it: in the root.
const NAME: &str = "airside.toml";
/// What the host gives at most at once, in bytes.
const PIECE: u64 = 64 * 1024;
/// So many pieces are on their way.
const AHEAD: usize = 4;

/// The file; `None` when it is not there, or shorter than it was at first.
pub(crate) fn read() -> Option<Vec<u8>> {
    let folders = get_directories();
    let (folder, _) = folders
        .iter()
        .find(|(_, path)| path.trim_matches('/').is_empty())?;
    let follow = PathFlags::SYMLINK_FOLLOW;
    let file = folder
        .open_at(follow, NAME, OpenFlags::empty(), DescriptorFlags::READ)
        .ok()?;
    let size = file.stat().ok()?.size;
    let mut text = Vec::with_capacity(usize::try_from(size).ok()?);
    let mut coming = VecDeque::new();
    let mut asked = 0;
    loop {
        while asked < size && coming.len() < AHEAD {
            let length = PIECE.min(size - asked);
            coming.push_back(Piece::ask(&file, asked, length)?);
            asked += length;
        }
        match coming.pop_front() {
            Some(piece) => piece.take(&mut text)?,
            None => return Some(text),
        }
    }
}

/// A part of the file that is on its way.
struct Piece {
    stream: InputStream,
    /// What was there at once: with most hosts nothing.
    begin: Vec<u8>,
    rest: u64,
}

impl Piece {
    fn ask(file: &Descriptor, at: u64, length: u64) -> Option<Self> {
        let stream = file.read_via_stream(at).ok()?;
        let begin = stream.read(length).ok()?;
        let rest = length.checked_sub(begin.len() as u64)?;
        Some(Piece {
            stream,
            begin,
            rest,
        })
    }

    fn take(mut self, text: &mut Vec<u8>) -> Option<()> {
        text.extend_from_slice(&self.begin);
        while self.rest > 0 {
            let more = self.stream.blocking_read(self.rest).ok()?;
            text.extend_from_slice(&more);
            self.rest = self.rest.checked_sub(more.len() as u64)?;
        }
        Some(())
    }
}
