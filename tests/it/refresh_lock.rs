//! The lock of refreshes, checked for all interleavings: three requests with one session, each
//! of which may crash, stall or lose an answer at every step, and a provider that rotates and
//! takes a second use of a refresh token for theft. The model drives the real state machine.

use airside::session::refresh_lock::{
    Answer, CALL_MILLIS, GRACE, LEASE, Mark, Moment, Outcome, Patience, RESULT_LIFETIME, Racer,
    Reply, START_MILLIS, Step, WAIT_MILLIS,
};
use airside::time::UnixTime;
use stateright::{Checker, HasDiscoveries, Model, Property};

const RACERS: usize = 3;
/// Time goes in steps that fit into all bounds of the lock.
const TICK: u64 = 2_000;
/// From sending to the end of the lease at least.
const LEASE_LEFT: u64 = LEASE.as_secs() * 1_000 - START_MILLIS;
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
    /// Whether requests may crash. One that stalls for ever is no different.
    crashes: bool,
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
    /// An owner died, or as good as, between sending and having written all.
    died: bool,
    /// One died before anybody could know that the refresh token is used.
    unknown: bool,
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
        /// When it sent the refresh token, and what the provider answers.
        sent: Option<(u64, Answer)>,
        /// It came when all others were over, and whatever they left was known to be over.
        fresh: bool,
    },
    Finished {
        outcome: Outcome,
        /// What a result said that was read.
        found: Option<Answer>,
        fresh: bool,
        late: bool,
    },
    Crashed,
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
                // That it was taken before is all there is to know.
                *count = (*count + 1).min(2);
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
                    state.provider.excuse(index);
                }
                Reply::Written
            }
            Step::ReadResult => Reply::Result(self.result(state).is_some()),
            Step::WriteResult => {
                let Request::Running {
                    sent: Some((_, answer)),
                    ..
                } = state.racers[index]
                else {
                    unreachable!("only who sent has a result")
                };
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

    fn start(&self, state: &mut State, index: usize) {
        let (racer, step) = Racer::start(self.patience[index], self.moment(state, index));
        let over = |request: &Request| !matches!(request, Request::Running { .. });
        let known = |attempt: usize| {
            let lease = state.store.leases.get(attempt).copied().flatten();
            let end = lease.map(|lease| lease.plus(LEASE).plus(GRACE).as_secs() + 3);
            end.is_some_and(|end| end <= BEGIN + state.millis / 1_000)
        };
        let mut taken = (0..state.store.locks.len()).filter(|at| state.store.locks[*at] > 0);
        let fresh = state.racers.iter().all(over) && taken.all(known);
        for request in &mut state.racers {
            if let Request::Running { fresh, .. } = request {
                *fresh = false;
            }
        }
        state.racers[index] = Request::Running {
            racer,
            step,
            since: state.millis,
            started: state.millis,
            stalled: false,
            sent: None,
            fresh,
        };
    }

    /// Gives a racer its reply and takes its next step; a call is sent in the same instant.
    fn advance(&self, state: &mut State, index: usize, reply: Reply, heard: bool) {
        let moment = self.moment(state, index);
        let result = self.result(state);
        let Request::Running {
            racer,
            step,
            since,
            sent,
            stalled,
            fresh,
            ..
        } = &mut state.racers[index]
        else {
            unreachable!("only a running request goes on")
        };
        let next = racer.next(reply, moment);
        (*step, *since, *stalled) = (next, state.millis, false);
        match next {
            Step::Call => {
                let provider = &mut state.provider;
                state.sent_twice |= provider.calls.iter().any(|call| !call.1);
                let answer = provider.answer(heard);
                *sent = Some((state.millis, answer));
                provider.calls.push((index, false));
            }
            Step::Finish(outcome) => {
                let (fresh, late) = (*fresh, state.millis >= LATER);
                let found = result.filter(|_| outcome == Outcome::Found);
                state.racers[index] = Request::Finished {
                    outcome,
                    found,
                    fresh,
                    late,
                };
            }
            _ => {}
        }
    }

    /// The owner of a call is dead, or as good as: its call excuses another.
    fn bury(state: &mut State, index: usize) {
        let Request::Running {
            step,
            sent: Some(_),
            ..
        } = &state.racers[index]
        else {
            return;
        };
        if matches!(step, Step::Call | Step::WriteMark(_) | Step::WriteResult) {
            state.died = true;
            let spent = matches!(state.store.mark, Some(Mark::Spent { .. }));
            // A result without a mark helps nobody: the next one sends the token again.
            state.unknown |= !spent && state.store.result.is_none();
            state.provider.excuse(index);
        }
    }

    /// Time passes only where it is waited for: while sleeping, calling, or stalled. A store that
    /// takes its time lets the others do their steps first, which is an interleaving like any
    /// other.
    fn may_tick(&self, state: &State) -> bool {
        let mut ahead = false;
        let all = state.racers.iter().all(|request| match request {
            Request::Running {
                step,
                since,
                stalled: false,
                ..
            } => {
                let bound = match step {
                    Step::Call => CALL_MILLIS,
                    Step::Sleep(millis) => *millis,
                    _ => 0,
                };
                ahead = true;
                state.millis < since + bound
            }
            Request::Running { .. } | Request::Ahead => {
                ahead = true;
                true
            }
            Request::Finished { .. } | Request::Crashed => true,
        });
        all && ahead && state.millis < self.horizon
    }

    /// Who stalls after sending and has not written its mark within the lease counts as dead.
    fn pass(state: &mut State, millis: u64) {
        state.millis += millis;
        for index in 0..RACERS {
            let Request::Running {
                step,
                stalled: true,
                sent: Some((at, _)),
                ..
            } = &state.racers[index]
            else {
                continue;
            };
            if *step == Step::WriteResult || state.millis > at + LEASE_LEFT {
                Self::bury(state, index);
            }
        }
    }
}

impl Provider {
    fn answer(&mut self, heard: bool) -> Answer {
        if !heard {
            return Answer::Fault;
        }
        if self.used {
            self.revoked = true;
            return Answer::InvalidGrant;
        }
        self.used = true;
        Answer::Tokens
    }

    fn excuse(&mut self, index: usize) {
        let mine = |call: &&mut (usize, bool)| call.0 == index;
        self.calls
            .iter_mut()
            .filter(mine)
            .for_each(|call| call.1 = true);
    }
}

impl Model for Race {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            millis: 0,
            racers: std::array::from_fn(|_| Request::Ahead),
            store: Store::default(),
            provider: Provider::default(),
            stalls: 0,
            store_failures: 0,
            provider_failures: 0,
            died: false,
            unknown: false,
            sent_twice: false,
        };
        self.start(&mut state, 0);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let mut idle = true;
        for (index, request) in state.racers.iter().enumerate() {
            match request {
                // They are alike but for their clocks: the order of arrival is theirs.
                Request::Ahead => {
                    if state.racers[index - 1] != Request::Ahead {
                        actions.push(Action::Start(index));
                    }
                }
                Request::Running {
                    step,
                    since,
                    stalled,
                    sent,
                    ..
                } => {
                    idle &= *stalled;
                    if self.crashes {
                        actions.push(Action::Crash(index));
                    }
                    if !stalled && state.stalls < self.stalls {
                        actions.push(Action::Stall(index));
                    }
                    let due = match step {
                        Step::Sleep(millis) => state.millis >= since + millis,
                        _ => true,
                    };
                    if due {
                        actions.push(Action::Do(index));
                    }
                    let provider_fails = state.provider_failures < self.provider_failures;
                    match step {
                        Step::Call => {
                            let heard = !matches!(sent, Some((_, Answer::Fault)));
                            if heard && provider_fails && state.millis >= since + CALL_MILLIS {
                                actions.push(Action::Lose(index));
                            }
                        }
                        Step::Sleep(_) => {}
                        _ => {
                            if *step == Step::ReadMark && provider_fails {
                                actions.push(Action::DoUnheard(index));
                            }
                            if state.store_failures < self.store_failures {
                                actions.push(Action::FailStore(index, false));
                                actions.push(Action::FailStore(index, true));
                            }
                        }
                    }
                }
                Request::Finished { .. } | Request::Crashed => {}
            }
        }
        if self.may_tick(state) {
            actions.push(Action::Tick);
        }
        let somebody = state
            .racers
            .iter()
            .any(|request| matches!(request, Request::Ahead | Request::Running { .. }));
        if idle && somebody && state.millis < LATER {
            actions.push(Action::MuchLater);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Start(index) => self.start(&mut state, index),
            Action::Do(index) | Action::DoUnheard(index) => {
                let heard = matches!(action, Action::Do(_));
                let Request::Running { step, sent, .. } = &state.racers[index] else {
                    return None;
                };
                let (step, answer) = (*step, sent.map(|(_, answer)| answer));
                match step {
                    Step::Call => self.advance(&mut state, index, Reply::Called(answer?), heard),
                    Step::Sleep(_) => {
                        // Waking up changes nothing for anybody: it looks at once.
                        self.advance(&mut state, index, Reply::Slept, heard);
                        return self.next_state(&state, Action::Do(index));
                    }
                    step => {
                        let reply = self.perform(&mut state, index, step);
                        self.advance(&mut state, index, reply, heard);
                    }
                }
                if !heard {
                    let Request::Running {
                        step: Step::Call, ..
                    } = &state.racers[index]
                    else {
                        return None; // the same as `Do`
                    };
                    state.provider_failures += 1;
                }
            }
            Action::Lose(index) => {
                state.provider_failures += 1;
                // The tokens are nobody's: as if the owner had died.
                (state.died, state.unknown) = (true, true);
                self.advance(&mut state, index, Reply::Called(Answer::Fault), true);
            }
            Action::FailStore(index, effect) => {
                state.store_failures += 1;
                let Request::Running { step, .. } = &state.racers[index] else {
                    return None;
                };
                let step = *step;
                if effect {
                    self.perform(&mut state, index, step);
                }
                self.advance(&mut state, index, Reply::Failed, true);
            }
            Action::Crash(index) => {
                Self::bury(&mut state, index);
                state.racers[index] = Request::Crashed;
            }
            Action::Stall(index) => {
                state.stalls += 1;
                if let Request::Running { stalled, fresh, .. } = &mut state.racers[index] {
                    (*stalled, *fresh) = (true, false);
                }
            }
            Action::Tick => Self::pass(&mut state, TICK),
            Action::MuchLater => Self::pass(&mut state, LATER),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no refresh token is sent twice", |_, state: &State| {
                !state.sent_twice
            }),
            Property::always("the provider sees no reuse", |_, state: &State| {
                state.unknown || !state.provider.revoked
            }),
            Property::always("nobody waits past the bound", |_, state: &State| {
                state.racers.iter().all(|request| match request {
                    Request::Running {
                        step: Step::Sleep(millis),
                        since,
                        started,
                        ..
                    } => since + millis <= started + WAIT_MILLIS,
                    _ => true,
                })
            }),
            Property::always("no session is lost", |_, state: &State| {
                state.died || !lost(state)
            }),
            Property::always("no refresh is stuck", |_, state: &State| !stuck(state)),
            Property::sometimes("one refreshes for all", |_, state: &State| {
                let got = |request: &Request| {
                    matches!(
                        request,
                        Request::Finished {
                            outcome: Outcome::Own(Answer::Tokens),
                            ..
                        } | Request::Finished {
                            found: Some(Answer::Tokens),
                            ..
                        }
                    )
                };
                state.racers.iter().all(got) && state.provider.calls.len() == 1
            }),
            Property::sometimes("another takes over", |_, state: &State| {
                state.store.locks.len() > 2 && state.provider.used && !state.provider.revoked
            }),
            Property::sometimes("a late old cookie gets no call", |_, state: &State| {
                state.provider.calls.len() == 1
                    && state.racers.iter().any(|request| {
                        matches!(
                            request,
                            Request::Finished {
                                outcome: Outcome::Spent,
                                late: true,
                                ..
                            }
                        )
                    })
            }),
        ]
    }
}

/// A request that came in time gets nothing although the refresh token is used.
fn lost(state: &State) -> bool {
    state.provider.revoked
        || state.racers.iter().any(|request| match request {
            Request::Finished {
                outcome,
                found,
                late,
                ..
            } => {
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
    !state.provider.used
        && state.store_failures == 0
        && state.racers.iter().any(|request| {
            matches!(
                request,
                Request::Finished {
                    outcome: Outcome::Busy | Outcome::Spent,
                    fresh: true,
                    ..
                }
            )
        })
}

#[track_caller]
fn check(race: Race) {
    let builder = race.checker().threads(2);
    let stop = builder.finish_when(HasDiscoveries::AnyFailures);
    let checker = stop.spawn_dfs().join();
    checker.assert_properties();
    // Nothing was cut off.
    assert!(checker.unique_state_count() > 10_000);
}

fn quiet() -> Race {
    Race {
        skew: [0; RACERS],
        patience: [Patience::Wait; RACERS],
        crashes: true,
        stalls: 0,
        store_failures: 0,
        provider_failures: 0,
        horizon: 20_000,
    }
}

#[test]
fn after_three_dead_owners_nobody_sends_the_token_and_after_three_tries_nobody_goes_on() {
    let moment = Moment {
        now: UnixTime::from_secs(BEGIN),
        millis: 0,
    };
    let over = Reply::Lease(Some(UnixTime::from_secs(BEGIN - 60)));
    let next = Reply::Lease(Some(UnixTime::from_secs(BEGIN)));
    let fault = Reply::Mark(Some(Mark::Fault {
        attempt: 1,
        retry_at: UnixTime::from_secs(BEGIN),
    }));
    let run = |replies: &[Reply]| {
        let (mut racer, mut step) = Racer::start(Patience::Wait, moment);
        for reply in replies {
            step = racer.next(*reply, moment);
        }
        step
    };
    let dead = [Reply::Incremented(2), over];
    let twice = [&[Reply::Mark(None)][..], &dead, &dead].concat();
    assert_eq!(run(&twice), Step::Increment(3));
    let thrice = [&twice[..], &dead].concat();
    assert_eq!(run(&thrice), Step::Finish(Outcome::Spent));
    // An attempt that failed in between makes room for more of them, but not for this request.
    let waiting = [
        Reply::Mark(None),
        Reply::Incremented(2),
        next,
        Reply::Slept,
        fault,
    ];
    let twice = [&waiting[..], &dead].concat();
    assert_eq!(run(&twice), Step::Increment(3));
    let thrice = [&twice[..], &dead].concat();
    assert_eq!(run(&thrice), Step::Finish(Outcome::Busy));
}

#[test]
fn an_answer_after_the_lease_is_told_to_others_only_when_it_is_tokens() {
    let moment = |millis: u64| Moment {
        now: UnixTime::from_secs(BEGIN + millis / 1_000),
        millis,
    };
    let after = |millis: u64, answer: Answer| {
        let (mut racer, first) = Racer::start(Patience::Wait, moment(0));
        let mut steps = vec![first];
        for reply in [
            Reply::Mark(None),
            Reply::Incremented(1),
            Reply::Written,
            Reply::Mark(None),
        ] {
            steps.push(racer.next(reply, moment(0)));
        }
        assert_eq!(steps.last(), Some(&Step::Call), "{steps:?}");
        racer.next(Reply::Called(answer), moment(millis))
    };
    let (in_time, late) = (LEASE.as_secs() * 1_000, LEASE.as_secs() * 1_000 + 1);
    for answer in [Answer::Fault, Answer::InvalidGrant, Answer::Tokens] {
        assert!(matches!(after(in_time, answer), Step::WriteMark(_)));
    }
    // Another may have used the token since, and said so.
    for answer in [Answer::Fault, Answer::InvalidGrant] {
        assert_eq!(after(late, answer), Step::Finish(Outcome::Own(answer)));
    }
    let told = after(late, Answer::Tokens);
    assert!(matches!(told, Step::WriteMark(Mark::Spent { .. })));
}

#[test]
fn three_requests_that_may_crash_at_every_step() {
    check(quiet());
}

#[test]
fn requests_that_stall_at_every_step_with_clocks_two_seconds_apart() {
    check(Race {
        skew: [0, 2, 1],
        crashes: false,
        stalls: 1,
        ..quiet()
    });
}

#[test]
fn a_store_that_fails_at_every_step() {
    check(Race {
        store_failures: 1,
        ..quiet()
    });
}

#[test]
fn a_provider_that_fails_or_whose_answer_is_lost() {
    check(Race {
        provider_failures: 2,
        ..quiet()
    });
}

#[test]
fn one_request_in_a_hurry_with_clocks_two_seconds_apart() {
    check(Race {
        skew: [0, 2, 1],
        patience: [Patience::Wait, Patience::Wait, Patience::Hurry],
        ..quiet()
    });
}
