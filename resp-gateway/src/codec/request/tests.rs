//! What the module promises: any cut of the bytes reads the same, and no bytes take more than they are.

use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds {
    max_args: 1000,
    max_bulk: 1 << 20,
    max_inline: 4096,
    max_query: 1 << 22,
    before_auth: None,
};

type Commands = Vec<Vec<Vec<u8>>>;

/// Gives `bytes` piece by piece, as a connection does; what was read, and the error that ended it.
fn read_in_pieces(bytes: &[u8], pieces: &[usize]) -> (Commands, Option<ProtocolError>) {
    let mut reader = RequestReader::default();
    let mut buffer = Vec::new();
    let mut commands = Vec::new();
    let mut rest = bytes;
    let mut pieces = pieces.iter().cycle();
    loop {
        match reader.read(&buffer, &BOUNDS) {
            Err(error) => return (commands, Some(error)),
            Ok(Some(length)) => {
                let args = reader.args(&buffer);
                if !args.is_empty() {
                    commands.push(args.iter().map(|arg| arg.to_vec()).collect());
                }
                drop(args);
                buffer.drain(..length);
                reader.next();
            }
            Ok(None) if rest.is_empty() => return (commands, None),
            Ok(None) => {
                let piece = (*pieces.next().unwrap_or(&1)).clamp(1, rest.len());
                buffer.extend_from_slice(&rest[..piece]);
                rest = &rest[piece..];
            }
        }
    }
}

fn encode(commands: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands {
        bytes.extend(format!("*{}\r\n", command.len()).bytes());
        for arg in command {
            bytes.extend(format!("${}\r\n", arg.len()).bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}

fn some_commands() -> impl Strategy<Value = Commands> {
    let arg = proptest::collection::vec(any::<u8>(), 0..40);
    let command = proptest::collection::vec(arg, 1..12);
    proptest::collection::vec(command, 0..8)
}

/// Bytes that often are nearly a command.
fn nearly_commands() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"*2\r\n$3\r\nGET\r\n".to_vec()),
        Just(b"$1\r\na\r\n".to_vec()),
        Just(b"PING 'x y'\r\n".to_vec()),
        Just(b"*1\r\n$1152921504606846976\r\n".to_vec()),
        proptest::collection::vec(proptest::sample::select(&b"*$\r\n0123 -\"'\\x"[..]), 0..12),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn commands_are_read_as_they_were_written_however_they_are_cut(
        commands in some_commands(),
        pieces in proptest::collection::vec(1usize..30, 1..10),
    ) {
        let (read, error) = read_in_pieces(&encode(&commands), &pieces);
        prop_assert_eq!(error, None);
        prop_assert_eq!(read, commands);
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        bytes in nearly_commands(),
        pieces in proptest::collection::vec(1usize..10, 1..10),
    ) {
        let whole = read_in_pieces(&bytes, &[usize::MAX]);
        prop_assert_eq!(read_in_pieces(&bytes, &pieces), whole);
    }

    #[test]
    fn what_the_reader_holds_is_bounded_by_what_it_was_given(bytes in nearly_commands()) {
        let mut reader = RequestReader::default();
        let _ = reader.read(&bytes, &BOUNDS);
        prop_assert!(reader.args.len() <= bytes.len() && reader.unquoted.len() <= bytes.len());
        prop_assert!(reader.args.capacity() <= bytes.len().max(8).next_power_of_two());
    }
}

#[test]
fn a_whole_command_can_be_read_again_until_it_is_let_go() {
    let mut reader = RequestReader::default();
    for bytes in [
        &b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nrest"[..],
        b"GET 'a'\r\nrest",
    ] {
        for _ in 0..3 {
            let length = reader.read(bytes, &BOUNDS).unwrap().unwrap();
            assert_eq!(&bytes[length..], b"rest");
            assert_eq!(reader.args(bytes).as_slice(), [&b"GET"[..], b"a"]);
        }
        reader.next();
    }
}

#[test]
fn a_length_line_that_is_too_long_is_refused_as_such_however_it_is_cut() {
    for start in ["*", "*1\r\n$"] {
        let bytes = [start, &"1".repeat(BOUNDS.max_inline), "\r\n"].concat();
        let whole = read_in_pieces(bytes.as_bytes(), &[usize::MAX]);
        assert_eq!(read_in_pieces(bytes.as_bytes(), &[1]), whole);
        let too_long = [ProtocolError::MultibulkLine, ProtocolError::BulkLine];
        assert!(whole.1.is_some_and(|error| too_long.contains(&error)));
    }
}

#[test]
fn numbers_are_those_that_redis_takes() {
    for (text, number) in [
        ("0", Some(0)),
        ("-12", Some(-12)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
    ] {
        assert_eq!(integer(text.as_bytes()), number);
    }
    for text in ["", "-", "+1", " 1", "01", "-0", "1x", "9223372036854775808"] {
        assert_eq!(integer(text.as_bytes()), None, "{text}");
    }
}
