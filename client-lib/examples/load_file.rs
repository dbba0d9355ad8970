//! Loads a text file line by line into a table (line N under the key `line:N`) and reads it back.
//!
//! ```text
//! cargo run --release -p tulpar-client --example load_file -- 127.0.0.1:34601 default /usr/share/dict/words
//! ```

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use std::time::Instant;
use tulpar_client::{Client, ClientOptions, Error, Table};

/// How many requests are under way at a time.
const PIPELINE: usize = 512;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [meta, table, file] = &arguments[..] else {
        return Err("usage: load_file META_HOST:PORT[,...] TABLE FILE".into());
    };
    let lines = Bytes::from(std::fs::read(file).map_err(|error| format!("{file}: {error}"))?);
    let lines: Vec<Bytes> = lines
        .split(|&byte| byte == b'\n')
        .map(|line| lines.slice_ref(line))
        .collect();
    let client = Client::connect(ClientOptions::new(meta.split(','))).await?;
    let table = client.table(table).await?;

    let start = Instant::now();
    write(&table, &lines).await?;
    println!("{} lines written in {:.2?}", lines.len(), start.elapsed());

    let start = Instant::now();
    let different = compare(&table, &lines).await?;
    println!("{} lines read in {:.2?}", lines.len(), start.elapsed());

    match different {
        None => println!("all lines are equal"),
        Some(number) => return Err(format!("line {number} is not what was written").into()),
    }
    Ok(())
}

async fn write(table: &Table, lines: &[Bytes]) -> Result<(), Error> {
    stream::iter(lines.iter().enumerate())
        .map(|(number, line)| table.set(format!("line:{number}"), line.clone()))
        .buffer_unordered(PIPELINE)
        .try_for_each(|()| async { Ok(()) })
        .await
}

/// The number of a line that is not read as it was written.
async fn compare(table: &Table, lines: &[Bytes]) -> Result<Option<usize>, Error> {
    stream::iter(lines.iter().enumerate())
        .map(|(number, line)| async move {
            let read = table.get(format!("line:{number}")).await?;
            Ok::<_, Error>((read.as_ref() != Some(line)).then_some(number))
        })
        .buffer_unordered(PIPELINE)
        .try_fold(None, |first: Option<usize>, different| async move {
            Ok(first.or(different))
        })
        .await
}
