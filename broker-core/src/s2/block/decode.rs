//! Decodes a block.

use super::super::Fault;
use super::{
    COPY_1, COPY_2, COPY_4, LITERAL, LONG_LITERAL, REPEAT_1, REPEAT_1_FROM, REPEAT_2,
    REPEAT_2_FROM, REPEAT_3_FROM, SHORTEST,
};

/// The bytes that are copied at once, whether all of them are wanted or not: those behind are written again.
const STRIDE: usize = 16;

/// Splits the decoded length from the literals and copies.
pub(in super::super) fn split_len(block: &[u8]) -> Result<(usize, &[u8]), Fault> {
    let mut len = 0;
    for (at, byte) in block.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let len = usize::try_from(len).map_err(|_| Fault::Corrupt)?;
            return Ok((len, &block[at + 1..]));
        }
    }
    Err(Fault::Corrupt)
}

/// Decodes literals and copies, which must fill `decoded` exactly.
pub(in super::super) fn decode(mut data: &[u8], decoded: &mut [u8]) -> Result<(), Fault> {
    let mut at = 0;
    let mut offset = 0;
    while let Some((&tag, rest)) = data.split_first() {
        data = rest;
        let upper = usize::from(tag >> 2);
        let len = match tag & 3 {
            LITERAL => {
                let len = if upper < LONG_LITERAL {
                    upper + 1
                } else {
                    number(&mut data, upper - LONG_LITERAL + 1)? + 1
                };
                put_literal(&mut data, decoded, at, len)?;
                at += len;
                continue;
            }
            COPY_1 => {
                let low = number(&mut data, 1)?;
                let from = (upper >> 3) << 8 | low;
                let len = upper & 7;
                if from > 0 {
                    offset = from;
                    len + SHORTEST
                } else {
                    repeat_len(len as u8, &mut data)?
                }
            }
            COPY_2 => {
                offset = number(&mut data, 2)?;
                upper + 1
            }
            COPY_4 => {
                offset = number(&mut data, 4)?;
                upper + 1
            }
            _ => return Err(Fault::Corrupt),
        };
        put_copy(decoded, at, offset, len)?;
        at += len;
    }
    if at == decoded.len() { Ok(()) } else { Err(Fault::Corrupt) }
}

/// Takes a number of up to four bytes.
#[inline]
fn number(data: &mut &[u8], bytes: usize) -> Result<usize, Fault> {
    let (number, rest) = data.split_at_checked(bytes).ok_or(Fault::Corrupt)?;
    *data = rest;
    Ok(number.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// Returns the length of a copy from the offset of the last one.
fn repeat_len(len: u8, data: &mut &[u8]) -> Result<usize, Fault> {
    Ok(match len {
        ..REPEAT_1 => usize::from(len) + SHORTEST,
        REPEAT_1 => number(data, 1)? + REPEAT_1_FROM,
        REPEAT_2 => number(data, 2)? + REPEAT_2_FROM,
        _ => number(data, 3)? + REPEAT_3_FROM,
    })
}

/// Moves `len` bytes from `data` to the position `at`.
#[inline]
fn put_literal(data: &mut &[u8], decoded: &mut [u8], at: usize, len: usize) -> Result<(), Fault> {
    let room = decoded.get_mut(at..).ok_or(Fault::Corrupt)?;
    if len <= 2 * STRIDE
        && let (Some(from), Some(to)) =
            (data.first_chunk::<{ 2 * STRIDE }>(), room.first_chunk_mut::<{ 2 * STRIDE }>())
    {
        *to = *from;
        *data = &data[len..];
        return Ok(());
    }
    let (from, rest) = data.split_at_checked(len).ok_or(Fault::Corrupt)?;
    room.get_mut(..len).ok_or(Fault::Corrupt)?.copy_from_slice(from);
    *data = rest;
    Ok(())
}

/// Copies `len` bytes from `offset` before the position `at` to it.
#[inline]
fn put_copy(decoded: &mut [u8], at: usize, offset: usize, len: usize) -> Result<(), Fault> {
    let from = at.checked_sub(offset).filter(|from| *from < at).ok_or(Fault::Corrupt)?;
    if len > decoded.len() - at {
        return Err(Fault::Corrupt);
    }
    if offset >= STRIDE && len <= 4 * STRIDE && at + 4 * STRIDE <= decoded.len() {
        let mut done = 0;
        while done < len {
            // Neither range can be out of bounds.
            let Some(&bytes) = decoded[from + done..].first_chunk::<STRIDE>() else { break };
            let Some(to) = decoded[at + done..].first_chunk_mut::<STRIDE>() else { break };
            *to = bytes;
            done += STRIDE;
        }
        return Ok(());
    }
    // The bytes that are there already are a multiple of the offset, each time twice as long.
    let mut done = 0;
    while done < len {
        let some = (offset + done).min(len - done);
        decoded.copy_within(from..from + some, at + done);
        done += some;
    }
    Ok(())
}
