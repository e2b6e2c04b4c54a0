//! A process that is frozen between two invocations, with connections open and with clients that grow old.

use pombo_aws::clock::HandClock;

use super::receiver::Receiver;
use super::reuse::{OK, first_then};
use super::*;

fn sender_by(hands: &HandClock) -> HttpSender {
    let tls = tls_config(RootCertStore::empty()).unwrap();
    HttpSender::with(AddressPolicy::local(), tls, always(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]), LIMITS, hands.clock())
}

async fn outcome(sender: &HttpSender, receiver: &Receiver) -> Outcome {
    post(sender, &receiver.url(), SECOND).await.outcome
}

#[tokio::test]
async fn a_receiver_is_not_charged_for_a_connection_that_died_while_the_process_was_frozen() {
    for (how, time_passes) in HandClock::WAYS {
        // Something between the two has forgotten the connection: what is sent on it is never answered.
        let receiver = first_then(|peer| peer.closed()).await;
        let hands = HandClock::start();
        let sender = sender_by(&hands);
        assert_eq!(outcome(&sender, &receiver).await, succeeded(200));
        time_passes(&hands, 10 * SECOND);
        assert_eq!(outcome(&sender, &receiver).await, succeeded(200), "{how}");
        assert_eq!(receiver.connections(), 2, "{how}");
    }
}

#[tokio::test]
async fn connections_are_kept_over_a_pause_of_four_seconds_and_over_no_longer_one() {
    let (receiver, hands) = (Receiver::saying(OK).await, HandClock::start());
    let sender = sender_by(&hands);
    let millis = Duration::from_millis;
    for (pause, connections) in [(0, 1), (4000, 1), (4001, 2), (0, 2), (60_000, 3)] {
        hands.freeze(millis(pause));
        assert_eq!(outcome(&sender, &receiver).await, succeeded(200));
        assert_eq!(receiver.connections(), connections, "after {pause} ms");
    }
}

#[tokio::test]
async fn short_pauses_add_up_for_a_receiver_that_is_not_called_meanwhile() {
    let (receiver, other, hands) = (Receiver::saying(OK).await, Receiver::saying(OK).await, HandClock::start());
    let sender = sender_by(&hands);
    for receiver in [&receiver, &other, &receiver, &other] {
        assert_eq!(outcome(&sender, receiver).await, succeeded(200));
        hands.freeze(3 * SECOND);
    }
    assert_eq!((receiver.connections(), other.connections()), (2, 2));
}

#[tokio::test]
async fn a_client_is_too_old_after_a_minute_by_whichever_clock_runs() {
    for (how, time_passes) in HandClock::WAYS {
        let (receiver, hands) = (Receiver::saying(OK).await, HandClock::start());
        let sender = sender_by(&hands);
        for seconds in (0..=60).step_by(3) {
            assert_eq!(outcome(&sender, &receiver).await, succeeded(200));
            assert_eq!(receiver.connections(), 1 + usize::from(seconds == 60), "{how}, {seconds} s");
            time_passes(&hands, 3 * SECOND);
        }
    }
}
