//! The expiry wheel: what is stored for a time goes away again, in stores that know no expiry
//! and cannot be asked which keys they hold.
//!
//! Each hour has a counter of its entries and a slot for each: `airside/wheel/<hour>` and
//! `airside/wheel/<hour>/<n>`, the name of the key in it. Once the hour is long past, each
//! request of `tokens` takes the next few slots with another counter and deletes them and what
//! they name. An hour is walked twice, so that what a request left behind that died half-way
//! goes the second time; then its counters go, and `airside/wheel/floor` names the next hour.
//!
//! Everything here is bounded by [`AT_ONCE`], and runs in `tokens` only, which has the counters.

use std::cell::Cell;

use crate::encoding::base64url_encode;
use crate::ports::{KeyValueError, Ports};
use crate::time::UnixTime;

/// Slots that one request of `tokens` empties, at most. It fills fewer, so the wheel keeps up.
pub const AT_ONCE: i64 = 20;
/// What is deleted begins so: whoever can write into a shared store must not be able to have
/// airside delete what belongs to others.
pub const OWN: &str = "airside/";

const FLOOR: &str = "airside/wheel/floor";
const HOUR: u64 = 3_600;
/// No hour is looked for further back: nothing is kept longer than sessions may live.
const OLDEST_HOURS: u64 = 370 * 24;
const PASSES: [u8; 2] = [1, 2];

/// The hour in which the wheel of this instance is looked at again.
#[derive(Debug, Default)]
pub struct Idle(Cell<u64>);

/// Has `key` deleted one to two hours after `until`.
///
/// A key that is written again for a longer time is registered again each time, with the
/// beginning of its value as `tag`: it is deleted only while its value begins so, and an older
/// entry does not take a newer value. A counter, or what is written once, has the empty tag.
///
/// # Errors
/// [`KeyValueError`]; then `key` must not be written, or it may stay for ever.
pub async fn register(
    key: &str,
    tag: &[u8],
    until: UnixTime,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<(), KeyValueError> {
    // Never into an hour that may already be swept.
    let hour = until.max(now).as_secs() / HOUR + 1;
    let number = ports.counters.increment(&counter(hour), 1).await?;
    let entry = format!("{}.{key}", base64url_encode(tag));
    let slot = slot(hour, number);
    ports.key_value.set(&slot, entry.as_bytes()).await
}

/// Deletes what is due, at most [`AT_ONCE`] slots; returns how many it went through. Where
/// nothing is due it asks the store once per instance and hour.
///
/// # Errors
/// [`KeyValueError`]; what is left is for the next request.
pub async fn sweep(idle: &Idle, ports: Ports<'_>, now: UnixTime) -> Result<i64, KeyValueError> {
    let current = now.as_secs() / HOUR;
    if idle.0.get() > current {
        return Ok(0);
    }
    let floor = ports.key_value.get(FLOOR).await?;
    let floor = floor.and_then(|value| String::from_utf8(value).ok()?.parse::<u64>().ok());
    // One in the future stands for none, so that nobody can stop the wheel.
    let Some(floor) = floor.filter(|floor| *floor <= current) else {
        // The first request of all: whatever is registered from now on is for a later hour.
        ports
            .key_value
            .set(FLOOR, current.to_string().as_bytes())
            .await?;
        return Ok(0);
    };
    let mut hour = floor.max(current.saturating_sub(OLDEST_HOURS));
    let mut left = AT_ONCE;
    while hour < current && left > 0 {
        let taken = walk(hour, left, ports).await?;
        if taken == 0 {
            finish(hour, ports).await?;
            hour = hour.saturating_add(1);
            // An empty hour has its price too.
            left = left.saturating_sub(1);
        }
        left = left.saturating_sub(taken);
    }
    if hour >= current {
        idle.0.set(current.saturating_add(1));
    }
    Ok(AT_ONCE.saturating_sub(left))
}

/// Takes up to `most` slots of a past hour for this request alone and empties them; returns how
/// many it took, 0 when nothing is left of the hour.
async fn walk(hour: u64, most: i64, ports: Ports<'_>) -> Result<i64, KeyValueError> {
    let entries = ports.counters.increment(&counter(hour), 0).await?;
    if entries <= 0 {
        return Ok(0);
    }
    for pass in PASSES {
        let end = ports.counters.increment(&head(hour, pass), most).await?;
        let begin = end.saturating_sub(most);
        if begin >= entries || begin < 0 {
            continue;
        }
        let end = end.min(entries);
        for number in begin.saturating_add(1)..=end {
            empty(&slot(hour, number), ports).await?;
        }
        return Ok(end.saturating_sub(begin));
    }
    Ok(0)
}

/// Deletes what a slot names, then the slot.
async fn empty(slot: &str, ports: Ports<'_>) -> Result<(), KeyValueError> {
    let Some(entry) = ports.key_value.get(slot).await? else {
        // Emptied in the first pass, or never filled.
        return Ok(());
    };
    let entry = String::from_utf8(entry).unwrap_or_default();
    let (tag, key) = entry.split_once('.').unwrap_or_default();
    if key.starts_with(OWN) && is_due(key, tag, ports).await? {
        ports.key_value.delete(key).await?;
    }
    ports.key_value.delete(slot).await
}

/// False when the value was written anew since.
async fn is_due(key: &str, tag: &str, ports: Ports<'_>) -> Result<bool, KeyValueError> {
    if tag.is_empty() {
        return Ok(true);
    }
    let tag = crate::encoding::base64url_decode(tag).unwrap_or_default();
    let value = ports.key_value.get(key).await?;
    Ok(value.is_some_and(|value| value.starts_with(&tag)))
}

/// Forgets an hour that is empty.
async fn finish(hour: u64, ports: Ports<'_>) -> Result<(), KeyValueError> {
    // First: a request that comes too late then finds nothing, and goes on from here as well.
    let next = hour.saturating_add(1).to_string();
    ports.key_value.set(FLOOR, next.as_bytes()).await?;
    ports.key_value.delete(&counter(hour)).await?;
    for pass in PASSES {
        ports.key_value.delete(&head(hour, pass)).await?;
    }
    Ok(())
}

fn counter(hour: u64) -> String {
    format!("airside/wheel/{hour}")
}

fn head(hour: u64, pass: u8) -> String {
    format!("airside/wheel/{hour}/head/{pass}")
}

fn slot(hour: u64, number: i64) -> String {
    format!("airside/wheel/{hour}/{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::KeyValue;
    use crate::testing::{World, block_on, block_on_both};

    const LIFE: u64 = 10 * HOUR;

    fn put(world: &World, key: &str, tag: &[u8]) {
        let now = world.now();
        let until = now.plus(crate::time::Lifetime::from_secs(LIFE));
        block_on(register(key, tag, until, world.ports(), now)).expect("registered");
        block_on(world.key_value.set(key, b"value")).expect("set");
    }

    fn run(world: &World, idle: &Idle) -> i64 {
        block_on(sweep(idle, world.ports(), world.now())).expect("swept")
    }

    /// Sweeps until nothing is due; how many requests that took.
    fn run_dry(world: &World) -> usize {
        let idle = Idle::default();
        for requests in 1..10_000 {
            if run(world, &idle) < AT_ONCE {
                return requests;
            }
        }
        panic!("the wheel never ends");
    }

    fn keys(world: &World) -> Vec<String> {
        let mut keys = world.key_value.keys();
        keys.retain(|key| key != FLOOR);
        keys
    }

    #[test]
    fn what_is_over_goes_and_what_is_not_stays() {
        let world = World::default();
        run_dry(&world);
        for number in 0..100 {
            put(&world, &format!("airside/x/{number}"), b"");
        }
        world.clock.advance(LIFE);
        run_dry(&world);
        assert_eq!(keys(&world).len(), 201, "its own time is hardly over");
        put(&world, "airside/x/later", b"");
        world.clock.advance(2 * HOUR);
        assert_eq!(run_dry(&world), 11, "a hundred slots, each looked at twice");
        let left = keys(&world);
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.contains(&"airside/x/later".to_owned()));
        world.clock.advance(LIFE);
        run_dry(&world);
        assert!(keys(&world).is_empty(), "counters and all");
    }

    #[test]
    fn a_request_goes_through_twenty_slots_and_no_more() {
        let world = World::default();
        run_dry(&world);
        for number in 0..50 {
            put(&world, &format!("airside/x/{number}"), b"");
        }
        world.clock.advance(LIFE + 2 * HOUR);
        let idle = Idle::default();
        // Ten empty hours come first.
        let mut before = keys(&world).len();
        for _ in 0..5 {
            assert!(run(&world, &idle) <= AT_ONCE);
            let after = keys(&world).len();
            assert!(
                before.saturating_sub(after) <= 2 * 20,
                "{before} to {after}"
            );
            before = after;
        }
    }

    #[test]
    fn where_nothing_is_due_the_store_is_asked_once_an_hour() {
        let world = World::default();
        let idle = Idle::default();
        run(&world, &idle);
        run(&world, &idle);
        let before = world.key_value.gets();
        for _ in 0..10 {
            run(&world, &idle);
        }
        assert_eq!(world.key_value.gets(), before);
        world.clock.advance(HOUR);
        run(&world, &idle);
        run(&world, &idle);
        assert_eq!(world.key_value.gets(), before + 1);
    }

    #[test]
    fn a_value_written_anew_outlives_its_older_entries() {
        let world = World::default();
        run_dry(&world);
        put(&world, "airside/mark", b"val");
        world.clock.advance(LIFE);
        put(&world, "airside/mark", b"new");
        block_on(world.key_value.set("airside/mark", b"new value")).expect("set");
        world.clock.advance(2 * HOUR);
        run_dry(&world);
        let mark = || block_on(world.key_value.get("airside/mark"));
        assert_eq!(mark(), Ok(Some(b"new value".to_vec())));
        world.clock.advance(LIFE);
        run_dry(&world);
        assert_eq!(mark(), Ok(None));
    }

    #[test]
    fn what_a_request_that_died_left_behind_goes_with_the_second_pass() {
        let world = World::default();
        run_dry(&world);
        for number in 0..50 {
            put(&world, &format!("airside/x/{number}"), b"");
        }
        world.clock.advance(LIFE + 2 * HOUR);
        // It takes the first slots, and is never heard of again.
        let hour = (world.now().as_secs() - 2 * HOUR) / HOUR + 1;
        let taken = block_on(world.ports().counters.increment(&head(hour, 1), AT_ONCE));
        assert_eq!(taken, Ok(AT_ONCE));
        run_dry(&world);
        assert!(keys(&world).is_empty(), "{:?}", keys(&world));
    }

    #[test]
    fn two_requests_at_once_share_the_work() {
        let world = World::default();
        run_dry(&world);
        for number in 0..200 {
            put(&world, &format!("airside/x/{number}"), b"");
        }
        world.clock.advance(LIFE + 2 * HOUR);
        world.key_value.answer_after(1);
        let (ports, now) = (world.ports(), world.now());
        let (one, two) = (Idle::default(), Idle::default());
        for _ in 0..14 {
            let both = block_on_both(sweep(&one, ports, now), sweep(&two, ports, now));
            assert!(both.0.is_ok() && both.1.is_ok());
        }
        world.key_value.answer_after(0);
        run_dry(&world);
        assert!(keys(&world).is_empty(), "{:?}", keys(&world));
    }

    #[test]
    fn nothing_of_others_is_deleted_and_a_strange_wheel_does_no_harm() {
        let world = World::default();
        run_dry(&world);
        put(&world, "theirs", b"");
        put(&world, "airside/ours", b"");
        world.clock.advance(LIFE + 2 * HOUR);
        run_dry(&world);
        assert_eq!(keys(&world), ["theirs"]);
        for floor in [&b"x"[..], b"99999999999", b"-1", b""] {
            block_on(world.key_value.set(FLOOR, floor)).expect("set");
            run_dry(&world);
            // And nobody stops it so.
            put(&world, "airside/later", b"");
            world.clock.advance(LIFE + 2 * HOUR);
            run_dry(&world);
            assert_eq!(keys(&world), ["theirs"]);
        }
    }

    #[test]
    fn without_counters_or_store_nothing_is_registered() {
        let world = World::default();
        let attempt = || {
            let now = world.now();
            block_on(register("airside/x", b"", now, world.ports(), now))
        };
        world.key_value.set_uncounted(true);
        assert_eq!(attempt(), Err(KeyValueError));
        world.key_value.set_uncounted(false);
        assert_eq!(attempt(), Ok(()));
        world.key_value.set_broken(true);
        assert_eq!(attempt(), Err(KeyValueError));
    }
}
