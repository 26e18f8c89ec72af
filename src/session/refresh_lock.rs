//! Who may send a refresh token, when many requests on many machines hold the same session:
//! one of them, once. A state machine of one such request; it does no I/O and knows no clock.
//!
//! A provider that rotates refresh tokens takes a second use for theft and ends the whole
//! family (RFC 9700 section 4.14.2). The store has one atomic operation, `increment`. Its keys,
//! for a session's present pair of tokens:
//!
//! - `lock/n`: who increments it to 1 owns attempt `n`. It is never set back.
//! - `lease/n`: when attempt `n` began. Its owner writes it; whoever finds none writes the
//!   present time, which can only be later, so that an owner that died at once is noticed too.
//! - `mark`: [`Mark::Spent`], the refresh token was used; or [`Mark::Fault`], attempts up to `n`
//!   are over and did not use it up, as far as is known.
//! - `result`: what the provider gave, for those who asked at the same time.
//!
//! What holds, with clocks of machines at most two seconds apart and store calls that take
//! effect within two seconds or not at all:
//!
//! - An owner sends only within [`START_MILLIS`] of its beginning, and only after reading
//!   `mark` again; the call takes at most [`CALL_MILLIS`]. So it has written `mark` before its
//!   lease ends, and attempt `n + 1` begins only [`GRACE`] after that: two calls with one
//!   refresh token happen only when an owner died between sending and writing.
//! - `mark` comes before `result`: an owner that dies between them costs a login, and never
//!   lets a used refresh token be sent.
//! - Nobody waits longer than [`WAIT_MILLIS`], then calls once at most.
//!
//! `tests/it/refresh_lock.rs` checks this for all interleavings of three requests.

use crate::time::{Lifetime, UnixTime};

/// How long an attempt may take, from its beginning to its mark.
pub const LEASE: Lifetime = Lifetime::from_secs(15);
/// How long after the end of a lease the next attempt may begin: machines' clocks differ.
pub const GRACE: Lifetime = Lifetime::from_secs(2);
/// The provider has that long to answer.
pub const CALL_MILLIS: u64 = 10_000;
/// An owner that has not sent within this time of its beginning does not send.
pub const START_MILLIS: u64 = 3_000;
/// Nobody waits longer for another's result.
pub const WAIT_MILLIS: u64 = 12_000;
/// A provider that failed is not asked again for this session within this time.
pub const FAULT_HOLD: Lifetime = Lifetime::from_secs(10);
/// How long the result is there for those who come late.
pub const RESULT_LIFETIME: Lifetime = Lifetime::from_secs(120);
/// That many attempts in a row may end without a mark; a request that kills each owner must
/// not go on for ever.
pub const MAX_ATTEMPTS: u32 = 3;

/// How long the result of a mark may be on its way, from when the mark is seen.
const SETTLE_MILLIS: u64 = 5_000;
/// The longest pause between two looks.
const MAX_PAUSE_MILLIS: u64 = 400;

/// A moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The time that other machines are told.
    pub now: UnixTime,
    /// Milliseconds of a clock of this machine that nobody sets.
    pub millis: u64,
}

/// What is known about the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Attempts up to `attempt` are over and gave nothing; the next may begin at `retry_at`.
    Fault {
        /// The number of the last of them.
        attempt: u32,
        /// Not before this time.
        retry_at: UnixTime,
    },
    /// It was used, or refused for good: it is not sent again.
    Spent {
        /// When.
        at: UnixTime,
    },
}

/// How the provider answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Not at all, or in a way that says nothing about the refresh token.
    Fault,
    /// `invalid_grant`: it is over.
    InvalidGrant,
    /// With tokens.
    Tokens,
}

/// What to do next. Each is answered by the [`Reply`] of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Send the refresh token, at once, within [`CALL_MILLIS`].
    Call,
    /// Nothing more: this is the outcome.
    Finish(Outcome),
    /// Increment `lock/n`.
    Increment(u32),
    /// Read `lease/n`.
    ReadLease(u32),
    /// Read `mark`.
    ReadMark,
    /// Read `result`.
    ReadResult,
    /// Wait that many milliseconds.
    Sleep(u64),
    /// Write `lease/n`.
    WriteLease(u32, UnixTime),
    /// Write `mark`.
    WriteMark(Mark),
    /// Write `result`: what the provider gave.
    WriteResult,
}

/// What became of a [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The provider's answer.
    Called(Answer),
    /// The store failed.
    Failed,
    /// The count after incrementing.
    Incremented(u64),
    /// The lease, if there is one.
    Lease(Option<UnixTime>),
    /// The mark, if there is one.
    Mark(Option<Mark>),
    /// Whether there is a result.
    Result(bool),
    /// The time is over.
    Slept,
    /// It is written.
    Written,
}

/// How it ends for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Another request is at it, or was and is no more: later.
    Busy,
    /// The provider failed a moment ago: later.
    Fault,
    /// The result that was read.
    Found,
    /// The answer to this request's own call.
    Own(Answer),
    /// The refresh token was used and there is no result: only a login helps.
    Spent,
    /// The store does not answer; nothing was sent.
    Unavailable,
}

/// Whether a request waits for another's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Patience {
    /// It has a token that still does.
    Hurry,
    /// It has nothing else.
    Wait,
}

/// One request that needs new tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Racer {
    patience: Patience,
    started: u64,
    slept: u64,
    pause: u64,
    /// Attempts up to this one are over by their mark.
    base: u32,
    /// How many locks it tried.
    tried: u32,
    /// A write that failed is tried once more.
    again: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Looking at the mark for the first time, or again after a fault.
    Looking,
    /// Taking the lock of an attempt.
    Locking { attempt: u32, began: Moment },
    /// The lock is another's: looking when it began.
    Leasing { attempt: u32 },
    /// Nobody wrote when it began: writing that it was before now.
    Noticing { attempt: u32, seen: UnixTime },
    /// Waiting for another's mark.
    Pausing { attempt: u32, lease: UnixTime },
    /// Looking for another's mark.
    Watching { attempt: u32, lease: UnixTime },
    /// Owner: writing when it began.
    Beginning { attempt: u32, began: Moment },
    /// Owner: looking whether the attempt is still called for.
    Confirming { attempt: u32, began: Moment },
    /// Owner: not in time, making way for the next.
    Yielding { attempt: u32 },
    /// Owner: calling the provider.
    Calling { attempt: u32, began: Moment },
    /// Owner: writing the mark.
    Marking { answer: Answer, mark: Mark },
    /// Owner: writing the result.
    Recording { answer: Answer },
    /// Looking for the result of a mark, which may be on its way until then.
    Fetching { until: u64 },
    /// Waiting for the result of a mark.
    Settling { until: u64 },
    /// Finished.
    Over,
}

impl Racer {
    /// A request at the beginning, and its first step.
    pub fn start(patience: Patience, moment: Moment) -> (Self, Step) {
        let racer = Racer {
            patience,
            started: moment.millis,
            slept: 0,
            pause: 25,
            base: 0,
            tried: 0,
            again: true,
            phase: Phase::Looking,
        };
        (racer, Step::ReadMark)
    }

    /// The step after the last one's `reply`, at `moment`.
    pub fn next(&mut self, reply: Reply, moment: Moment) -> Step {
        match (self.phase, reply) {
            (Phase::Looking | Phase::Watching { .. }, Reply::Mark(Some(Mark::Spent { at }))) => {
                self.fetch(at, moment)
            }
            (
                Phase::Looking,
                Reply::Mark(Some(Mark::Fault {
                    attempt, retry_at, ..
                })),
            ) => self.after_fault(attempt, retry_at, moment),
            (Phase::Looking, Reply::Mark(None)) => self.lock(self.base.saturating_add(1), moment),

            // The only winner of this attempt, ever.
            (Phase::Locking { attempt, began }, Reply::Incremented(1)) => {
                self.phase = Phase::Beginning { attempt, began };
                Step::WriteLease(attempt, began.now)
            }
            (Phase::Locking { attempt, .. }, Reply::Incremented(_)) => {
                self.phase = Phase::Leasing { attempt };
                Step::ReadLease(attempt)
            }
            (Phase::Leasing { attempt }, Reply::Lease(Some(lease))) => {
                self.wait(attempt, lease, moment)
            }
            (Phase::Leasing { attempt }, Reply::Lease(None)) => {
                let seen = moment.now;
                self.phase = Phase::Noticing { attempt, seen };
                Step::WriteLease(attempt, seen)
            }
            (Phase::Noticing { attempt, seen }, Reply::Written) => self.wait(attempt, seen, moment),
            (Phase::Pausing { attempt, lease }, Reply::Slept) => {
                self.phase = Phase::Watching { attempt, lease };
                Step::ReadMark
            }
            (
                Phase::Watching { attempt, lease },
                Reply::Mark(Some(Mark::Fault {
                    attempt: over,
                    retry_at,
                })),
            ) => {
                if over >= attempt {
                    self.after_fault(over, retry_at, moment)
                } else {
                    self.wait(attempt, lease, moment)
                }
            }
            (Phase::Watching { attempt, lease }, Reply::Mark(None)) => {
                self.wait(attempt, lease, moment)
            }

            (Phase::Beginning { attempt, began }, Reply::Written) => {
                self.phase = Phase::Confirming { attempt, began };
                Step::ReadMark
            }
            (Phase::Confirming { .. }, Reply::Mark(Some(Mark::Spent { at }))) => {
                self.fetch(at, moment)
            }
            (Phase::Confirming { attempt, began }, Reply::Mark(mark)) => match mark {
                // Others have been here since this attempt was called for.
                Some(Mark::Fault {
                    attempt: over,
                    retry_at,
                }) if over >= attempt => self.after_fault(over, retry_at, moment),
                _ => self.call(attempt, began, moment),
            },
            (Phase::Yielding { attempt }, Reply::Written) => {
                self.after_fault(attempt, moment.now, moment)
            }
            (Phase::Calling { attempt, began }, Reply::Called(answer)) => {
                self.record(attempt, began, answer, moment)
            }
            (Phase::Marking { answer, .. }, Reply::Written) => {
                if answer == Answer::Fault {
                    return self.finish(Outcome::Own(answer));
                }
                self.again = true;
                self.phase = Phase::Recording { answer };
                Step::WriteResult
            }
            // The refresh token is used: what can be told to others, is.
            (Phase::Marking { mark, .. }, Reply::Failed) if self.again => {
                self.again = false;
                Step::WriteMark(mark)
            }
            (Phase::Recording { .. }, Reply::Failed) if self.again => {
                self.again = false;
                Step::WriteResult
            }
            (
                Phase::Marking { answer, .. } | Phase::Recording { answer },
                Reply::Failed | Reply::Written,
            ) => self.finish(Outcome::Own(answer)),

            (Phase::Fetching { .. }, Reply::Result(true)) => self.finish(Outcome::Found),
            (Phase::Fetching { until }, Reply::Result(false)) => {
                if moment.millis >= until {
                    return self.finish(Outcome::Spent);
                }
                self.phase = Phase::Settling { until };
                self.sleep(moment)
            }
            (Phase::Settling { until }, Reply::Slept) => {
                self.phase = Phase::Fetching { until };
                Step::ReadResult
            }

            // The store failed before anything was sent; or a reply to something else.
            _ => self.finish(Outcome::Unavailable),
        }
    }

    fn after_fault(&mut self, attempt: u32, retry_at: UnixTime, moment: Moment) -> Step {
        self.base = self.base.max(attempt);
        if moment.now < retry_at {
            self.finish(Outcome::Fault)
        } else {
            self.lock(self.base.saturating_add(1), moment)
        }
    }

    fn lock(&mut self, attempt: u32, moment: Moment) -> Step {
        if attempt > self.base.saturating_add(MAX_ATTEMPTS) {
            return self.finish(Outcome::Spent);
        }
        if self.tried >= MAX_ATTEMPTS {
            return self.finish(Outcome::Busy);
        }
        self.tried = self.tried.saturating_add(1);
        self.phase = Phase::Locking {
            attempt,
            // Read before the lock is taken: the lease can only begin too early.
            began: moment,
        };
        Step::Increment(attempt)
    }

    /// Waits for the mark of `attempt`, or takes the next one when its owner is dead.
    fn wait(&mut self, attempt: u32, lease: UnixTime, moment: Moment) -> Step {
        // One second more, because both times are cut to whole seconds.
        let dead_at = lease.plus(LEASE).plus(GRACE).plus(Lifetime::from_secs(1));
        if moment.now >= dead_at {
            return self.lock(attempt.saturating_add(1), moment);
        }
        self.phase = Phase::Pausing { attempt, lease };
        self.sleep(moment)
    }

    fn sleep(&mut self, moment: Moment) -> Step {
        // Both, so that no clock can make it wait longer.
        let waited = moment.millis.saturating_sub(self.started).max(self.slept);
        let left = WAIT_MILLIS.saturating_sub(waited);
        if left == 0 || self.patience == Patience::Hurry {
            return self.finish(Outcome::Busy);
        }
        let pause = self.pause.min(left);
        self.pause = self.pause.saturating_mul(2).min(MAX_PAUSE_MILLIS);
        self.slept = self.slept.saturating_add(pause);
        Step::Sleep(pause)
    }

    fn call(&mut self, attempt: u32, began: Moment, moment: Moment) -> Step {
        let elapsed = moment.millis.saturating_sub(began.millis);
        if elapsed <= START_MILLIS {
            self.phase = Phase::Calling { attempt, began };
            return Step::Call;
        }
        // Too late to have the answer within the lease, which others trust. Nothing was sent.
        if within_lease(began, moment) {
            self.phase = Phase::Yielding { attempt };
            return Step::WriteMark(Mark::Fault {
                attempt,
                retry_at: moment.now,
            });
        }
        self.finish(Outcome::Busy)
    }

    fn record(&mut self, attempt: u32, began: Moment, answer: Answer, moment: Moment) -> Step {
        let mark = match answer {
            Answer::Fault => Mark::Fault {
                attempt,
                retry_at: moment.now.plus(FAULT_HOLD),
            },
            Answer::InvalidGrant | Answer::Tokens => Mark::Spent { at: moment.now },
        };
        // After its lease another may have been luckier: only tokens are worth telling.
        if answer != Answer::Tokens && !within_lease(began, moment) {
            return self.finish(Outcome::Own(answer));
        }
        self.phase = Phase::Marking { answer, mark };
        Step::WriteMark(mark)
    }

    fn fetch(&mut self, at: UnixTime, moment: Moment) -> Step {
        // The mark is older than it looks when writing it took long, so the wait is one's own.
        let until = match moment.now < at.plus(RESULT_LIFETIME) {
            true => moment.millis.saturating_add(SETTLE_MILLIS),
            false => 0,
        };
        self.phase = Phase::Fetching { until };
        Step::ReadResult
    }

    fn finish(&mut self, outcome: Outcome) -> Step {
        self.phase = Phase::Over;
        Step::Finish(outcome)
    }
}

fn within_lease(began: Moment, moment: Moment) -> bool {
    moment.millis.saturating_sub(began.millis) <= LEASE.as_secs().saturating_mul(1_000)
}
