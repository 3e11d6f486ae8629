//! How a conversation goes over to TLS, and what it says before.

use super::*;

/// Says everything at once, as somebody does who does not wait for answers.
fn flood(talk: &mut Talk, parts: &[Vec<u8>]) -> Vec<u8> {
    let bytes = parts.concat();
    talk.session.space()[..bytes.len()].copy_from_slice(&bytes);
    talk.session.filled(bytes.len());
    talk.hear()
}

#[test]
fn before_tls_nothing_is_told_where_it_is_required() {
    let mut talk = Talk::encrypted(Encryption::Required);
    talk.say(&3u32.to_be_bytes());
    for (kind, data) in [
        (option::LIST, vec![]),
        (option::INFO, go("array")),
        (option::GO, go("array")),
        (option::GO, vec![0; 20 << 10]),
        (option::STRUCTURED_REPLY, vec![]),
        (option::EXTENDED_HEADERS, vec![]),
        (option::LIST_META_CONTEXT, queries("", &[])),
        (option::SET_META_CONTEXT, queries("", &["base:allocation"])),
        (77, vec![1, 2, 3]),
    ] {
        let answer = talk.say(&opt(kind, &data));
        assert_eq!(kinds(&answer), [reply::ERR_TLS_REQD], "option {kind}");
        assert!(!talk.session.is_transmitting());
    }
    // All of it at once, and each is answered.
    let many = [opt(option::LIST, &[]), opt(option::GO, &[0; 20 << 10]), opt(option::GO, &[])];
    assert_eq!(kinds(&flood(&mut talk, &many)), [reply::ERR_TLS_REQD; 3]);
    assert_eq!(kinds(&talk.say(&opt(option::STARTTLS, &[1]))), [reply::ERR_INVALID]);
    assert_eq!(kinds(&talk.say(&opt(option::ABORT, &[]))), [reply::ACK]);
    assert!(talk.session.has_ended());

    let mut talk = Talk::encrypted(Encryption::Required);
    talk.say(&3u32.to_be_bytes());
    assert_eq!(talk.say(&opt(option::EXPORT_NAME, b"array")), b"", "it has no other way to say no");
    assert!(talk.session.has_ended());
}

#[test]
fn after_it_all_is_agreed_on_anew() {
    for encryption in [Encryption::Offered, Encryption::Required] {
        let mut talk = Talk::encrypted(encryption);
        talk.say(&3u32.to_be_bytes());
        if encryption == Encryption::Offered {
            talk.say(&opt(option::STRUCTURED_REPLY, &[]));
            talk.say(&opt(option::SET_META_CONTEXT, &queries("array", &["base:allocation"])));
        }
        assert_eq!(kinds(&talk.say(&opt(option::STARTTLS, &[]))), [reply::ACK]);
        assert!(talk.session.wants_tls() && !talk.session.wants_input());
        assert!(talk.session.space().is_empty(), "what comes now is TLS's");
        assert!(!talk.session.is_transmitting(), "it is not waited for without end");
        assert_eq!(talk.session.secured(), b"");
        assert_eq!(kinds(&talk.say(&opt(option::STARTTLS, &[]))), [reply::ERR_INVALID]);
        let contexts = opt(option::SET_META_CONTEXT, &queries("array", &["base:allocation"]));
        assert_eq!(kinds(&talk.say(&contexts)), [reply::ERR_INVALID], "structured no more");
        talk.begin_again();
        assert_eq!(talk.say(&request(command::BLOCK_STATUS, 0, 1, 0, 512)), simple(22, 1));
        let read = talk.say(&request(command::READ, 0, 2, 0, 512));
        assert_eq!(read, [simple(0, 2), vec![0; 512]].concat());
    }
}

/// Somebody on the way adds options behind the client's wish, hoping that the server takes them for
/// the client's once the two are alone.
#[test]
fn what_comes_behind_the_wish_was_not_said_by_the_client() {
    for encryption in [Encryption::Offered, Encryption::Required] {
        let mut talk = Talk::encrypted(encryption);
        talk.say(&3u32.to_be_bytes());
        let added = [opt(option::STRUCTURED_REPLY, &[]), opt(option::GO, &go("array"))].concat();
        let answer = flood(&mut talk, &[opt(option::STARTTLS, &[]), added.clone()]);
        assert_eq!(kinds(&answer), [reply::ACK], "and none to what was added");
        assert_eq!(talk.session.secured(), added, "TLS is to see what it is");
        assert_eq!(talk.hear(), b"");
        talk.begin_again();
        assert_eq!(talk.say(&request(command::READ, 0, 2, 0, 512)).len(), 16 + 512);
    }
}

#[test]
fn the_answer_goes_before_tls() {
    let mut talk = Talk::encrypted(Encryption::Offered);
    talk.say(&3u32.to_be_bytes());
    let wish = opt(option::STARTTLS, &[]);
    talk.session.space()[..wish.len()].copy_from_slice(&wish);
    talk.session.filled(wish.len());
    for left in (1..=20).rev() {
        assert_eq!(talk.session.output(1)[0].len(), left);
        assert!(!talk.session.wants_tls());
        talk.session.sent(1);
    }
    assert!(talk.session.wants_tls());
    talk.session.leave();
    assert!(talk.session.has_ended());
}

#[test]
fn without_it_nobody_is_sent_there() {
    let mut talk = Talk::encrypted(Encryption::Offered);
    talk.say(&2u32.to_be_bytes());
    let answer = talk.say(&opt(option::STARTTLS, &[]));
    assert_eq!(kinds(&answer), [reply::ERR_INVALID], "it is for the fixed newstyle");
    talk.begin_again();
    let mut talk = Talk::encrypted(Encryption::Off);
    talk.say(&3u32.to_be_bytes());
    assert_eq!(kinds(&talk.say(&opt(option::STARTTLS, &[]))), [reply::ERR_UNSUP]);
    talk.begin_again();
}
