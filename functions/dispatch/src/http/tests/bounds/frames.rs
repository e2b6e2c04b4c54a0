//! HTTP/2 (RFC 9113) by hand, since its libraries refuse to write what a misbehaving receiver does.

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const NONE: u8 = 0;
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// The largest frame that may be sent unasked.
pub const LARGEST: usize = 16 * 1024;

/// A frame: its kind, its flags, the stream it is for, and what is in it.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Settings without any.
pub fn settings() -> Vec<u8> {
    frame(SETTINGS, NONE, 0, &[])
}

/// Settings with one.
pub fn setting(number: u8, value: u32) -> Vec<u8> {
    frame(SETTINGS, NONE, 0, &[&[0, number][..], &value.to_be_bytes()].concat())
}

/// The first answer's status line, as HPACK (RFC 7541) has it in its table.
pub fn status(code: u16) -> Vec<u8> {
    match code {
        200 => vec![0x88],
        500 => vec![0x8e],
        // By the index of its name, with its value spelt out.
        _ => [&[0x08, 3], code.to_string().as_bytes()].concat(),
    }
}

/// A header that enters no table: its name is "x".
pub fn header(value: &[u8]) -> Vec<u8> {
    [&[0x00, 1, b'x'][..], &length(value.len()), value].concat()
}

/// A header that enters the table, where it is then known as [`REPEATED`].
pub fn header_to_repeat(value: &[u8]) -> Vec<u8> {
    [&[0x40, 1, b'x'][..], &length(value.len()), value].concat()
}

/// A header that was told before, in one byte.
pub const REPEATED: u8 = 0x80 | 62;

/// HPACK's integer with a prefix of seven bits.
fn length(value: usize) -> Vec<u8> {
    let Some(mut rest) = value.checked_sub(127) else { return vec![value as u8] };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}
