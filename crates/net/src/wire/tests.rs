use core::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::new)
}

fn blob(limit: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=limit).prop_map(Bytes::from)
}

fn tip() -> impl Strategy<Value = Tip> {
    (hash(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(id, height, weight)| Tip {
        id,
        height,
        weight: U256::from_le_bytes(weight),
    })
}

fn addresses() -> impl Strategy<Value = Vec<SocketAddr>> {
    let one = (any::<core::net::IpAddr>(), 1u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    vec(one, 0..=MAX_ADDRESSES)
}

fn part() -> impl Strategy<Value = Part> {
    (any::<bool>(), hash())
        .prop_map(|(body, id)| if body { Part::Body(id) } else { Part::Certificate(id) })
}

fn message() -> impl Strategy<Value = Message> {
    let hello = (any::<u16>(), any::<u64>(), hash(), tip(), addresses()).prop_map(
        |(protocol, chain_id, genesis, tip, addresses)| {
            Message::Hello(Hello { protocol, chain_id, genesis, tip, addresses })
        },
    );
    let contact = (any::<[u8; 32]>(), addresses())
        .prop_map(|(id, addresses)| Contact { peer: PeerId::new(id), addresses });
    prop_oneof![
        hello,
        (tip(), blob(MAX_HEADER_BYTES)).prop_map(|(tip, header)| Message::Announce { tip, header }),
        vec(hash(), 0..=MAX_LOCATOR).prop_map(Message::GetHeaders),
        vec(blob(MAX_HEADER_BYTES), 0..8).prop_map(Message::Headers),
        vec(part(), 0..=MAX_PARTS).prop_map(Message::GetParts),
        (part(), blob(2_000)).prop_map(|(part, bytes)| Message::Part(part, bytes)),
        part().prop_map(Message::Missing),
        vec(hash(), 0..40).prop_map(Message::Waiting),
        vec(hash(), 0..40).prop_map(Message::GetTransactions),
        vec(blob(300), 0..8).prop_map(Message::Transactions),
        Just(Message::GetContacts),
        vec(contact, 0..8).prop_map(Message::Contacts),
    ]
}

/// What a reader makes of a stream that holds one frame and nothing else.
fn read(bytes: &[u8]) -> Result<Message, WireError> {
    let (head, payload) = bytes.split_first_chunk().ok_or(WireError::Short("frame"))?;
    let frame = Frame::read(*head)?;
    if payload.len() != frame.length {
        return Err(WireError::Short("payload"));
    }
    Message::decode(frame.kind, Bytes::copy_from_slice(payload))
}

proptest! {
    #[test]
    fn n3_what_is_written_is_read(message in message()) {
        prop_assert_eq!(read(&message.encode()), Ok(message));
    }

    #[test]
    fn n3_a_mutated_message_is_refused_or_another_one(
        message in message(), place in any::<prop::sample::Index>(), change in 1u8..
    ) {
        let mut bytes = message.encode();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        if let Ok(other) = read(&bytes) {
            prop_assert_ne!(&other, &message);
            prop_assert_eq!(other.encode(), bytes, "a second encoding of one message");
        }
    }

    #[test]
    fn n3_a_truncated_or_doubled_message_is_refused(
        message in message(), place in any::<prop::sample::Index>()
    ) {
        let bytes = message.encode();
        let frame = Frame::read(*bytes.first_chunk().unwrap()).unwrap();
        let payload = Bytes::from(bytes).split_off(Frame::BYTES);
        if !payload.is_empty() {
            let cut = payload.slice(..place.index(payload.len()));
            // A part's bytes are whatever its block's are; all else ends where it ends.
            if !matches!(message, Message::Part(..)) {
                prop_assert!(Message::decode(frame.kind, cut).is_err());
            }
            let doubled = Bytes::from([payload.clone(), payload].concat());
            if !matches!(message, Message::Part(..)) {
                prop_assert!(Message::decode(frame.kind, doubled).is_err());
            }
        }
    }

    #[test]
    fn n3_any_bytes_are_refused_or_have_one_encoding(kind in 0usize..12, bytes in vec(any::<u8>(), 0..600)) {
        if let Ok(message) = Message::decode(Kind::ALL[kind], Bytes::from(bytes.clone())) {
            prop_assert_eq!(&message.encode()[Frame::BYTES..], &bytes[..]);
        }
    }
}

#[test]
fn n2_a_frame_is_judged_before_its_payload() {
    for kind in Kind::ALL {
        let length = u32::try_from(kind.limit).unwrap();
        let frame = |length: u32| {
            let [a, b, c, d] = length.to_le_bytes();
            Frame::read([a, b, c, d, kind.byte()])
        };
        assert_eq!(frame(length).unwrap().length, kind.limit);
        assert!(matches!(frame(length + 1), Err(WireError::TooMany { .. })), "{kind:?}");
        assert!(matches!(frame(u32::MAX), Err(WireError::TooMany { .. })), "{kind:?}");
        let over = Bytes::from(vec![0; kind.limit + 1]);
        assert!(Message::decode(kind, over).is_err(), "{kind:?}");
    }
    assert_eq!(Frame::read([0, 0, 0, 0, 12]), Err(WireError::Kind(12)));
}

#[test]
fn n4_no_message_is_above_8_mib_and_none_that_nobody_asked_for_above_17_kib() {
    for kind in Kind::ALL {
        assert!(kind.limit <= 8 * 1024 * 1024);
        assert!(kind.is_answer() || kind.limit <= 17 * 1024, "{kind:?}");
    }
}

#[test]
fn the_longest_of_each_list_fits_its_kind() {
    let (hash, header) = (B256::repeat_byte(1), Bytes::from(vec![1; MAX_HEADER_BYTES]));
    let tip = Tip { id: hash, height: 1, weight: U256::MAX };
    let address: SocketAddr = "[2001:db8::1]:7373".parse().unwrap();
    let addresses = vec![address; MAX_ADDRESSES];
    let contact = Contact { peer: PeerId::new([1; 32]), addresses: addresses.clone() };
    for message in [
        Message::Hello(Hello { protocol: 1, chain_id: 1, genesis: hash, tip, addresses }),
        Message::Announce { tip, header: header.clone() },
        Message::GetHeaders(vec![hash; MAX_LOCATOR]),
        Message::Headers(vec![header; MAX_HEADERS]),
        Message::GetParts(vec![Part::Certificate(hash); MAX_PARTS]),
        Message::Part(Part::Body(hash), Bytes::from(vec![0; MAX_BODY_BYTES])),
        Message::Part(Part::Certificate(hash), Bytes::from(vec![0; MAX_CERTIFICATE_BYTES])),
        Message::Missing(Part::Body(hash)),
        Message::Waiting(vec![hash; MAX_HASHES]),
        Message::GetTransactions(vec![hash; MAX_HASHES]),
        Message::Transactions(vec![
            Bytes::from(vec![7; MAX_TRANSACTIONS_BYTES / MAX_HASHES]);
            MAX_HASHES
        ]),
        Message::Contacts(vec![contact; MAX_CONTACTS]),
    ] {
        assert_eq!(read(&message.encode()).as_ref(), Ok(&message));
    }
    let long =
        Message::Part(Part::Certificate(hash), Bytes::from(vec![0; MAX_CERTIFICATE_BYTES + 1]));
    assert!(matches!(read(&long.encode()), Err(WireError::TooMany { .. })));
    let port = Message::Contacts(vec![Contact {
        peer: PeerId::new([1; 32]),
        addresses: vec!["127.0.0.1:0".parse().unwrap()],
    }]);
    assert_eq!(read(&port.encode()), Err(WireError::Canonical("port")));
}
