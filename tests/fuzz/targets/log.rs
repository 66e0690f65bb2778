//! The log: records. Any bytes are read or refused, and what is read is written the same again.

use bytes::Bytes;
use ringcask::engine::format::record::{Record, RecordHeader};
use ringcask::io::sim::SimDisk;
use ringcask::io::{Buffer, Disk, Durability, OpenMode};

/// Kind, length of the meta bytes, meta bytes and payload.
pub fn run(data: &[u8]) {
    let _ = RecordHeader::decode(data);
    let Some((&[kind, low, high], rest)) = data.split_first_chunk() else { return };
    let (meta, payload) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes([low, high]))));
    let payload = Bytes::copy_from_slice(payload);
    let Ok(record) = Record::decode(kind, meta, payload) else { return };
    let encoded = record.encode();
    let header = RecordHeader::decode(&encoded.header.encode()).expect("what was written is read");
    assert_eq!(header, encoded.header);
    assert!(header.check_meta(&encoded.meta) && header.check_payload(&encoded.payload));
    // What is spelled in one way only is spelled the same; settings of buckets can stand in another order.
    if !matches!(record, Record::BucketPut(_)) {
        assert_eq!((kind, meta), (header.kind, encoded.meta.as_slice()));
    }
    let again =
        Record::decode(header.kind, &encoded.meta, encoded.payload).expect("what was written is read");
    assert_eq!(again, record);
    assert!(record.owner(3) < 3);
    if let Record::ObjectPut(put) = record {
        let _ = (put.version(), put.modified(), put.stored_bytes());
    }
}

/// Makes a file.
pub async fn store(disk: &SimDisk, name: &str, content: &[u8]) -> <SimDisk as Disk>::File {
    let file = disk.open(name, OpenMode::Create).await.expect("a new file");
    let mut buffer = Buffer::heap(content.len());
    buffer.append(content);
    let bytes = content.len();
    disk.write(&file, 0, buffer, 0..bytes, Durability::Buffered).await.0.expect("a drive that writes");
    file
}
