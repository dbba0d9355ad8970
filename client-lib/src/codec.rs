//! What travels on a stream: request batches that are already encoded, response batches to be decoded.
//!
//! Requests are encoded once, when they are submitted, straight into the next batch; the queue to the transport holds bytes.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use proto::data::{RequestBatch, RequestId, ResponseBatch, request::Operation};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Field `requests` of `RequestBatch`.
const REQUESTS: u32 = 2;
/// Fields of `Request` before the operation.
const ID: u32 = 1;
const TABLE: u32 = 2;
const PARTITION: u32 = 3;
const EPOCH: u32 = 4;
/// And behind it.
const REQUEST_ID: u32 = 14;
const STALENESS: u32 = 15;
const ORDERED: u32 = 16;

/// How a request is addressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) id: u64,
    pub(crate) table: u32,
    pub(crate) partition: u32,
    pub(crate) epoch: u32,
    /// How many milliseconds old a read's answer may be.
    pub(crate) staleness: u32,
    /// Later ones must not overtake it, whatever it is refused for.
    pub(crate) ordered: bool,
}

fn number_len(field: u32, value: u64) -> usize {
    if value == 0 {
        0
    } else {
        key_len(field) + encoded_len_varint(value)
    }
}

fn number(field: u32, value: u64, into: &mut BytesMut) {
    if value != 0 {
        encode_key(field, WireType::Varint, into);
        encode_varint(value, into);
    }
}

/// Appends one request to a batch. A `RequestBatch` with several is nothing but these, one after the other.
pub(crate) fn encode_request(
    at: Address,
    operation: &Operation,
    operation_len: usize,
    request_id: Option<RequestId>,
    into: &mut BytesMut,
) {
    let fields = [
        (ID, at.id),
        (TABLE, at.table.into()),
        (PARTITION, at.partition.into()),
        (EPOCH, at.epoch.into()),
    ];
    let length = fields
        .iter()
        .map(|&(field, value)| number_len(field, value))
        .sum::<usize>()
        + operation_len
        + request_id.as_ref().map_or(0, |id| {
            prost::encoding::message::encoded_len(REQUEST_ID, id)
        })
        + number_len(STALENESS, at.staleness.into())
        + number_len(ORDERED, at.ordered.into());
    into.reserve(length + 16);
    encode_key(REQUESTS, WireType::LengthDelimited, into);
    encode_varint(length as u64, into);
    for (field, value) in fields {
        number(field, value, into);
    }
    operation.encode(into);
    if let Some(id) = &request_id {
        prost::encoding::message::encode(REQUEST_ID, id, into);
    }
    number(STALENESS, at.staleness.into(), into);
    number(ORDERED, at.ordered.into(), into);
}

/// The first message of a stream.
pub(crate) fn encode_hello(hello: &RequestBatch) -> Bytes {
    hello.encode_to_vec().into()
}

/// The codec of `Data.Execute`.
#[derive(Clone, Copy, Default)]
pub(crate) struct BatchCodec;

impl Codec for BatchCodec {
    type Encode = Bytes;
    type Decode = ResponseBatch;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BatchCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, batch: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(batch.len());
        into.put(batch);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(32 << 10, 128 << 10)
    }
}

impl Decoder for BatchCodec {
    type Item = ResponseBatch;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<ResponseBatch>, Status> {
        ResponseBatch::decode(from)
            .map(Some)
            .map_err(|error| Status::internal(format!("a response batch cannot be read: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(32 << 10, 128 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::data::{Get, Request, Set};

    #[test]
    fn requests_encoded_one_by_one_read_as_one_batch() {
        let operations = [
            Operation::Get(Get { key: "k".into() }),
            Operation::Set(Set {
                key: "k".into(),
                value: vec![7; 300].into(),
                ttl: 9,
            }),
            Operation::Get(Get::default()),
        ];
        let mut bytes = BytesMut::new();
        let mut requests = Vec::new();
        for (operation, id) in operations.into_iter().zip([0, 1 << 40, 127]) {
            let (table, partition, epoch) = (id as u32 & 3, 200, 0);
            let request_id = (id > 0).then_some(RequestId {
                client: id,
                sequence: id * 3,
                behind: 0,
                sent: 7,
                again: id == 127,
            });
            encode_request(
                Address {
                    id,
                    table,
                    partition,
                    epoch,
                    staleness: partition & id as u32,
                    ordered: id == 127,
                },
                &operation,
                operation.encoded_len(),
                request_id,
                &mut bytes,
            );
            requests.push(Request {
                id,
                table,
                partition,
                epoch,
                operation: Some(operation),
                request_id,
                staleness: partition & id as u32,
                ordered: id == 127,
            });
        }
        let expected = RequestBatch {
            requests,
            ..RequestBatch::default()
        };
        assert_eq!(RequestBatch::decode(bytes), Ok(expected));
    }
}
