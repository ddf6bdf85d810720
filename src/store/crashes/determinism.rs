//! The same calls on the same disk leave the same bytes.

use std::time::Duration;

use super::opening::{first_day, open};
use crate::env::simulated::{Choices, Disk};
use crate::event::{NewEvent, Outcome};
use crate::store::audit::audit_in;

#[test]
fn a_store_on_a_simulated_disk_is_a_function_of_what_it_is_asked() {
    let live = || {
        let disk = Disk::new();
        let (store, clock) = open(&disk, first_day(), 1, 0).unwrap();
        for number in 0..20 {
            clock.advance(Duration::from_secs(1));
            store.append(NewEvent::new("Issue", &"x".repeat(number * 40)).unwrap()).unwrap();
            for claim in store.claim(1).unwrap() {
                store.settle(&claim, Outcome::Done).unwrap();
            }
        }
        clock.set_wall(first_day() + Duration::from_hours(2));
        assert_eq!(store.compact().unwrap().events_forgotten, 20);
        store.shared().close_log().unwrap();
        disk
    };
    let (one, other) = (live(), live());
    assert_eq!((one.fingerprint(), one.calls()), (other.fingerprint(), other.calls()));
    let left = one.after_crash(&mut Choices::nothing());
    assert_eq!(left.fingerprint(), other.after_crash(&mut Choices::nothing()).fingerprint());
    assert_eq!(audit_in(&left.root()).unwrap().damage, 0);
    let (store, _clock) = open(&left.copy(), first_day() + Duration::from_hours(3), 2, 1).unwrap();
    assert!(store.recovery().closed_cleanly, "{:?}", store.recovery());
    assert_eq!(store.epoch(), 2);
}
