//! The lock of refreshes, checked for all interleavings: three requests with one session, each
//! of which may crash, stall or lose an answer at every step, and a provider that rotates and
//! takes a second use of a refresh token for theft. The model drives the real state machine.

use airside::session::refresh_lock::{
    Answer, CALL_MILLIS, LEASE, Mark, Moment, Outcome, Patience, RESULT_LIFETIME, Racer, Reply,
    Step, WAIT_MILLIS,
};
use airside::time::UnixTime;
use stateright::{Checker, Model, Property};

const RACERS: usize = 3;
/// Longer than a result lives.
const LATER: u64 = (RESULT_LIFETIME.as_secs() + 1) * 1_000;
/// Model time at the beginning; wall clocks show this many seconds, plus their error.
const BEGIN: u64 = 1_000_000;

/// What may happen in one exploration.
#[derive(Clone)]
struct Race {
    /// How wrong each racer's wall clock is, in seconds.
    skew: [u64; RACERS],
    patience: [Patience; RACERS],
    /// How often a request may stall beyond all bounds.
    stalls: u8,
    /// How often a call to the store may fail, with or without effect.
    store_failures: u8,
    /// How often the provider may fail, or its answer be lost.
    provider_failures: u8,
    /// How far time goes while somebody is at work.
    horizon: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    millis: u64,
    racers: [Request; RACERS],
    store: Store,
    provider: Provider,
    stalls: u8,
    store_failures: u8,
    provider_failures: u8,
    /// Somebody came after the result was gone.
    late: bool,
    /// An owner died, or as good as, between sending and having written.
    died: bool,
    /// A refresh token was sent although an earlier call neither failed nor died.
    sent_twice: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Request {
    Ahead,
    Running {
        racer: Racer,
        step: Step,
        /// When the step was due.
        since: u64,
        started: u64,
        stalled: bool,
        /// What the provider will have answered.
        answer: Option<Answer>,
    },
    Finished {
        outcome: Outcome,
        /// What a result said that was read.
        found: Option<Answer>,
        started: u64,
        at: u64,
    },
    Crashed {
        at: u64,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Store {
    locks: Vec<u64>,
    leases: Vec<Option<UnixTime>>,
    mark: Option<Mark>,
    result: Option<(Answer, u64)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Provider {
    used: bool,
    revoked: bool,
    /// Calls so far: by whom, and whether it is known to have failed, or its owner dead.
    calls: Vec<(usize, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Start(usize),
    /// The pending step takes effect.
    Do(usize),
    /// The same, and where the next step is a call, the provider never sees it.
    DoUnheard(usize),
    /// The provider's answer does not arrive.
    Lose(usize),
    /// The store fails, before or after the effect.
    FailStore(usize, bool),
    Crash(usize),
    Stall(usize),
    Tick,
    /// Nobody is at work: a long time passes.
    MuchLater,
}

fn slot<T: Clone + Default>(list: &mut Vec<T>, attempt: u32) -> &mut T {
    let index = attempt as usize;
    if list.len() <= index {
        list.resize(index + 1, T::default());
    }
    &mut list[index]
}

impl Race {
    fn moment(&self, state: &State, index: usize) -> Moment {
        let seconds = BEGIN + state.millis / 1_000 + self.skew[index];
        Moment {
            now: UnixTime::from_secs(seconds),
            millis: state.millis,
        }
    }

    /// Carries out the pending step of a racer on the store.
    fn perform(&self, state: &mut State, index: usize, step: Step) -> Reply {
        let store = &mut state.store;
        match step {
            Step::Increment(attempt) => {
                let count = slot(&mut store.locks, attempt);
                *count += 1;
                Reply::Incremented(*count)
            }
            Step::ReadLease(attempt) => Reply::Lease(*slot(&mut store.leases, attempt)),
            Step::WriteLease(attempt, time) => {
                *slot(&mut store.leases, attempt) = Some(time);
                Reply::Written
            }
            Step::ReadMark => Reply::Mark(store.mark),
            Step::WriteMark(mark) => {
                store.mark = Some(mark);
                if matches!(mark, Mark::Fault { .. }) {
                    let mine = |call: &&mut (usize, bool)| call.0 == index;
                    state.provider.calls.iter_mut().filter(mine).for_each(|call| call.1 = true);
                }
                Reply::Written
            }
            Step::ReadResult => Reply::Result(self.result(state).is_some()),
            Step::WriteResult => {
                let Request::Running { answer, .. } = &state.racers[index] else {
                    unreachable!("only a running request writes")
                };
                let answer = answer.expect("an owner has an answer");
                state.store.result = Some((answer, state.millis));
                Reply::Written
            }
            Step::Sleep(_) => Reply::Slept,
            Step::Call | Step::Finish(_) => unreachable!("not an operation of the store"),
        }
    }

    fn result(&self, state: &State) -> Option<Answer> {
        let (answer, at) = state.store.result?;
        let fresh = state.millis < at + RESULT_LIFETIME.as_secs() * 1_000;
        fresh.then_some(answer)
    }

    /// Gives a racer its reply and takes its next step; a call is sent in the same instant.
    fn advance(&self, state: &mut State, index: usize, reply: Reply, heard: bool) {
        let moment = self.moment(state, index);
        let found = self.result(state);
        let millis = state.millis;
        let Request::Running { racer, step, since, started, answer, .. } = &mut state.racers[index]
        else {
            unreachable!("only a running request goes on")
        };
        let next = racer.next(reply, moment);
        (*step, *since) = (next, millis);
        match next {
            Step::Call => {
                let provider = &mut state.provider;
                if provider.calls.iter().any(|call| !call.1) {
                    state.sent_twice = true;
                }
                *answer = Some(match heard {
                    false => Answer::Fault,
                    true if provider.used => {
                        provider.revoked = true;
                        Answer::InvalidGrant
                    }
                    true => {
                        provider.used = true;
                        Answer::Tokens
                    }
                });
                provider.calls.push((index, false));
            }
            Step::Finish(outcome) => {
                state.racers[index] = Request::Finished {
                    outcome,
                    found: found.filter(|_| outcome == Outcome::Found),
                    started: *started,
                    at: millis,
                };
            }
            _ => {}
        }
    }

    /// The request's owner of a call is no more, or too slow to count: its call excuses another.
    fn bury(state: &mut State, index: usize) {
        let Request::Running { step, answer, .. } = &state.racers[index] else { return };
        let between = matches!(step, Step::Call | Step::WriteMark(_) | Step::WriteResult);
        if answer.is_some() && between {
            state.died = true;
            for call in &mut state.provider.calls {
                if call.0 == index {
                    call.1 = true;
                }
            }
        }
    }

    /// Time passes only where it is waited for: while sleeping, calling, or stalled. A store that
    /// takes its time lets the others do their steps first, which is an interleaving like any
    /// other.
    fn may_tick(state: &State) -> bool {
        state.racers.iter().all(|request| match request {
            Request::Running { step, since, stalled, .. } if !stalled => {
                let bound = match step {
                    Step::Call => CALL_MILLIS,
                    Step::Sleep(millis) => *millis,
                    _ => 0,
                };
                state.millis < since + bound
            }
            _ => true,
        })
    }
}

impl Model for Race {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            millis: 0,
            racers: std::array::from_fn(|_| Request::Ahead),
            store: Store::default(),
            provider: Provider::default(),
            stalls: 0,
            store_failures: 0,
            provider_failures: 0,
            late: false,
            died: false,
            sent_twice: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let mut idle = true;
        for (index, request) in state.racers.iter().enumerate() {
            match request {
                // They are alike but for their clocks: the order of arrival is theirs.
                Request::Ahead => {
                    if index == 0 || state.racers[index - 1] != Request::Ahead {
                        actions.push(Action::Start(index));
                    }
                }
                Request::Running { step, since, stalled, answer, .. } => {
                    idle &= *stalled;
                    actions.push(Action::Crash(index));
                    if !stalled && state.stalls < self.stalls {
                        actions.push(Action::Stall(index));
                    }
                    match step {
                        Step::Call => {
                            let ended = state.millis >= since + CALL_MILLIS;
                            if answer == &Some(Answer::Fault) {
                                actions.push(Action::Do(index));
                            } else {
                                actions.push(Action::Do(index));
                                if ended && state.provider_failures < self.provider_failures {
                                    actions.push(Action::Lose(index));
                                }
                            }
                        }
                        Step::Sleep(millis) => {
                            if state.millis >= since + millis {
                                actions.push(Action::Do(index));
                            }
                        }
                        _ => {
                            actions.push(Action::Do(index));
                            if *step == Step::ReadMark && state.provider_failures < self.provider_failures {
                                actions.push(Action::DoUnheard(index));
                            }
                            if state.store_failures < self.store_failures {
                                actions.push(Action::FailStore(index, false));
                                actions.push(Action::FailStore(index, true));
                            }
                        }
                    }
                }
                Request::Finished { .. } | Request::Crashed { .. } => {}
            }
        }
        if state.millis < self.horizon && Self::may_tick(state) {
            actions.push(Action::Tick);
        }
        if idle && !state.late && state.millis > 0 {
            actions.push(Action::MuchLater);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Start(index) => {
                let (racer, step) = Racer::start(self.patience[index], self.moment(&state, index));
                state.racers[index] = Request::Running {
                    racer,
                    step,
                    since: state.millis,
                    started: state.millis,
                    stalled: false,
                    answer: None,
                };
            }
            Action::Do(index) | Action::DoUnheard(index) => {
                let Request::Running { step, answer, .. } = &state.racers[index] else { return None };
                let (step, answer) = (*step, *answer);
                let reply = match step {
                    Step::Call => Reply::Called(answer?),
                    step => self.perform(&mut state, index, step),
                };
                let heard = !matches!(action, Action::DoUnheard(_));
                self.advance(&mut state, index, reply, heard);
                if !heard {
                    // Otherwise it is the same as `Do`.
                    let calls = matches!(&state.racers[index], Request::Running { step: Step::Call, .. });
                    if !calls {
                        return None;
                    }
                    state.provider_failures += 1;
                }
            }
            Action::Lose(index) => {
                state.provider_failures += 1;
                // The tokens are nobody's: as if the owner had died.
                state.died = true;
                let Request::Running { answer, .. } = &mut state.racers[index] else { return None };
                *answer = Some(Answer::Fault);
                self.advance(&mut state, index, Reply::Called(Answer::Fault), true);
            }
            Action::FailStore(index, effect) => {
                state.store_failures += 1;
                let Request::Running { step, .. } = &state.racers[index] else { return None };
                let step = *step;
                if effect {
                    self.perform(&mut state, index, step);
                } else {
                    // What it had to tell, nobody learns: as if it had died, if it is not
                    // able to tell it again.
                    let before = state.clone();
                    self.advance(&mut state, index, Reply::Failed, true);
                    if matches!(state.racers[index], Request::Finished { .. }) {
                        state = before;
                        Self::bury(&mut state, index);
                        self.advance(&mut state, index, Reply::Failed, true);
                    }
                    return Some(state);
                }
                self.advance(&mut state, index, Reply::Failed, true);
            }
            Action::Crash(index) => {
                Self::bury(&mut state, index);
                state.racers[index] = Request::Crashed { at: state.millis };
            }
            Action::Stall(index) => {
                state.stalls += 1;
                Self::bury(&mut state, index);
                if let Request::Running { stalled, .. } = &mut state.racers[index] {
                    *stalled = true;
                }
            }
            Action::Tick => state.millis += 1_000,
            Action::MuchLater => {
                state.late = true;
                state.millis += LATER;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no refresh token is sent twice", |_, state: &State| {
                !state.sent_twice
            }),
            Property::always("the provider sees no reuse", |_, state: &State| {
                state.died || !state.provider.revoked
            }),
            Property::always("nobody waits past the bound", |_, state: &State| {
                state.racers.iter().all(|request| match request {
                    Request::Running { step: Step::Sleep(millis), since, started, .. } => {
                        since + millis <= started + WAIT_MILLIS
                    }
                    _ => true,
                })
            }),
            Property::always("no session is lost", |_, state: &State| state.died || !lost(state)),
            Property::always("no refresh is stuck", |_, state: &State| !stuck(state)),
            Property::sometimes("one refreshes for all", |_, state: &State| {
                let got = |request: &Request| {
                    matches!(
                        request,
                        Request::Finished { outcome: Outcome::Own(Answer::Tokens), .. }
                            | Request::Finished { found: Some(Answer::Tokens), .. }
                    )
                };
                state.racers.iter().all(got) && state.provider.calls.len() == 1
            }),
            Property::sometimes("another takes over from a dead owner", |_, state: &State| {
                let dead = state.racers.iter().any(|r| matches!(r, Request::Crashed { .. }));
                dead && state.store.locks.len() > 2 && state.provider.used && !state.provider.revoked
            }),
            Property::sometimes("a late old cookie gets no call", |_, state: &State| {
                state.late && state.racers.iter().any(|request| {
                    matches!(request, Request::Finished { outcome: Outcome::Spent, .. })
                })
            }),
        ]
    }
}

/// A request that came in time gets nothing although the refresh token is used.
fn lost(state: &State) -> bool {
    state.provider.revoked
        || state.racers.iter().any(|request| match request {
            Request::Finished { outcome, found, at, .. } => {
                let late = state.late && *at >= LATER;
                matches!(outcome, Outcome::Own(Answer::InvalidGrant))
                    || *found == Some(Answer::InvalidGrant)
                    || (*outcome == Outcome::Spent && !late)
            }
            _ => false,
        })
}

/// A request that came well after all others were over got nothing, though nobody had used the
/// refresh token.
fn stuck(state: &State) -> bool {
    state.racers.iter().enumerate().any(|(index, request)| {
        let Request::Finished { outcome: Outcome::Busy | Outcome::Spent, started, .. } = request
        else {
            return false;
        };
        let over = |other: &Request| match other {
            Request::Ahead => true,
            Request::Running { .. } => false,
            Request::Finished { at, .. } | Request::Crashed { at } => {
                at + (LEASE.as_secs() + 8) * 1_000 <= *started
            }
        };
        let others = state.racers.iter().enumerate().filter(|(other, _)| *other != index);
        !state.provider.used && others.into_iter().all(|(_, other)| over(other))
    })
}

#[track_caller]
fn check(name: &str, race: Race) {
    let checker = race.checker().threads(2).target_state_count(400_000).spawn_dfs().join();
    println!("{name}: {} states", checker.unique_state_count());
    checker.assert_properties();
}

const WAITING: [Patience; RACERS] = [Patience::Wait; RACERS];

fn quiet() -> Race {
    Race {
        skew: [0; RACERS],
        patience: WAITING,
        stalls: 0,
        store_failures: 0,
        provider_failures: 0,
        horizon: 25_000,
    }
}

#[test]
fn three_requests_that_may_crash_at_every_step() {
    check("crashes", quiet());
}

