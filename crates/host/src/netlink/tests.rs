use super::*;

const SEQUENCE: u32 = 7;
const RTM_NEWADDR: u16 = 20;
const NLM_F_MULTI: u16 = 2;

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    bytes
}

fn error(errno: i32, echoed: &[u8], attributes: &[u8]) -> Vec<u8> {
    [&(-errno).to_ne_bytes()[..], echoed, attributes].concat()
}

/// `NLMSGERR_ATTR_OFFS`, then `NLMSGERR_ATTR_MSG` "no way".
const EXTENDED: [u8; 20] =
    [8, 0, 2, 0, 24, 0, 0, 0, 11, 0, 1, 0, b'n', b'o', b' ', b'w', b'a', b'y', 0, 0];

fn read(datagrams: &[&[u8]]) -> Result<Reply, Failure> {
    let mut answer = Reply::new(SEQUENCE);
    for datagram in datagrams {
        answer.read(datagram)?;
    }
    Ok(answer)
}

fn refused(outcome: Result<Reply, Failure>) -> NetlinkRefusal {
    match outcome {
        Err(Failure::Refused(refusal)) => refusal,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the refusal went unseen"),
    }
}

#[test]
fn a_dump_is_the_payloads_before_done() {
    let first = [
        message(RTM_NEWADDR, NLM_F_MULTI, SEQUENCE, b"one!"),
        message(RTM_NEWADDR, NLM_F_MULTI, SEQUENCE, b"three"),
    ]
    .concat();
    let last = message(NLMSG_DONE, NLM_F_MULTI, SEQUENCE, &[0; 4]);
    let answer = read(&[&first, &last]).unwrap();
    assert!(answer.finished && !answer.interrupted);
    assert_eq!(answer.payloads, [b"one!".to_vec(), b"three".to_vec()]);
}

#[test]
fn an_answer_to_another_request_is_passed_over() {
    let stale = message(NLMSG_ERROR, 0, SEQUENCE - 1, &error(17, &[0; 16], &[]));
    let answer = read(&[&stale]).unwrap();
    assert!(!answer.finished && answer.payloads.is_empty());
}

#[test]
fn an_interruption_is_seen_on_an_entry_and_on_done() {
    for datagram in [
        message(RTM_NEWADDR, NLM_F_MULTI | NLM_F_DUMP_INTR, SEQUENCE, b"some"),
        message(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, SEQUENCE, &[0; 4]),
    ] {
        assert!(read(&[&datagram]).unwrap().interrupted);
    }
}

#[test]
fn a_dump_that_ends_with_an_errno_is_a_refusal() {
    let done = message(NLMSG_DONE, NLM_F_MULTI, SEQUENCE, &(-95_i32).to_ne_bytes());
    assert_eq!(refused(read(&[&done])).errno, 95);
}

#[test]
fn an_acknowledgement_is_no_refusal() {
    let answer =
        read(&[&message(NLMSG_ERROR, NLM_F_CAPPED, SEQUENCE, &error(0, &[0; 16], &[]))]).unwrap();
    assert!(answer.finished);
}

#[test]
fn the_kernels_words_are_found_behind_the_echoed_request() {
    let request = message(RTM_NEWADDR, 0, SEQUENCE, b"ninebytes");
    let refusal = refused(read(&[&message(
        NLMSG_ERROR,
        NLM_F_ACK_TLVS,
        SEQUENCE,
        &error(22, &request, &EXTENDED),
    )]));
    assert_eq!((refusal.errno, refusal.message.as_deref()), (22, Some("no way")));
}

#[test]
fn the_kernels_words_are_found_behind_a_capped_request() {
    let request = &message(RTM_NEWADDR, 0, SEQUENCE, b"ninebytes")[..HEADER];
    let refusal = refused(read(&[&message(
        NLMSG_ERROR,
        NLM_F_ACK_TLVS | NLM_F_CAPPED,
        SEQUENCE,
        &error(22, request, &EXTENDED),
    )]));
    assert_eq!(refusal.message.as_deref(), Some("no way"));
}

#[test]
fn a_refusal_without_words_keeps_its_errno() {
    let request = message(RTM_NEWADDR, 0, SEQUENCE, &[]);
    let refusal = refused(read(&[&message(NLMSG_ERROR, 0, SEQUENCE, &error(17, &request, &[]))]));
    assert_eq!((refusal.errno, refusal.message), (17, None));
}

#[test]
fn bytes_cut_anywhere_are_an_error_or_unfinished_but_never_a_panic() {
    let request = message(RTM_NEWADDR, 0, SEQUENCE, b"ninebytes");
    let whole = message(NLMSG_ERROR, NLM_F_ACK_TLVS, SEQUENCE, &error(22, &request, &EXTENDED));
    for length in 1..whole.len() {
        let malformed = matches!(read(&[&whole[..length]]), Err(Failure::Malformed(_)));
        assert!(malformed, "{length} of {} bytes", whole.len());
    }
    // Lengths that lie inside a well-formed header.
    for lie in [0, 1, 15, 17, u32::MAX] {
        let mut bytes = whole.clone();
        bytes[HEADER + 4..HEADER + 8].copy_from_slice(&lie.to_ne_bytes());
        assert_eq!(refused(read(&[&bytes])).errno, 22);
    }
}

#[test]
fn an_interrupted_reading_is_made_again_and_a_failed_one_is_not() {
    let mut readings = 0;
    let outcome = uninterrupted(|| {
        readings += 1;
        if readings < 3 { Err(Failure::Interrupted) } else { Ok(readings) }
    });
    assert!(matches!(outcome, Ok(3)), "{outcome:?}");

    let mut readings = 0;
    let outcome = uninterrupted(|| {
        readings += 1;
        Err::<(), _>(Failure::Refused(NetlinkRefusal { errno: 105, message: None }))
    });
    assert!(outcome.is_err_and(|failure| failure.is(Errno::ENOBUFS)));
    assert_eq!(readings, 1);
}

#[test]
fn a_table_that_never_rests_is_an_error() {
    let outcome = uninterrupted(|| Err::<(), _>(Failure::Interrupted));
    assert!(matches!(outcome, Err(Failure::Interrupted)), "{outcome:?}");
}

#[test]
fn a_refusal_reads_as_words_errno_and_the_kernels_message() {
    let refusal = NetlinkRefusal { errno: 22, message: Some("Unknown device type".into()) };
    assert_eq!(refusal.to_string(), "Invalid argument (EINVAL): Unknown device type");
}

#[test]
fn an_unknown_errno_keeps_its_number() {
    let refusal = NetlinkRefusal { errno: 4095, message: None };
    assert_eq!(refusal.to_string(), "errno 4095");
}
