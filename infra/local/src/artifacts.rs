//! Packs each function's program as Lambda wants it, and puts it into a bucket under its content's name, as the template.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    time::Duration,
};

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use aws_sdk_s3::{Client, config::RequestChecksumCalculation, presigning::PresigningConfig, primitives::ByteStream};
use bytes::Bytes;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    deploy::{self, Text},
    fingerprint::fingerprint,
    functions::Programs,
};

/// The stack that is the bucket, so that CloudFormation finds it a name: bucket names are shared by all accounts.
const BUCKET_STACK: &str = "pombo-artifacts";
const BUCKET_TEMPLATE: &str =
    r#"{"Resources":{"Code":{"Type":"AWS::S3::Bucket"}},"Outputs":{"Bucket":{"Value":{"Ref":"Code"}}}}"#;

/// A function's archive.
#[derive(Clone)]
pub(crate) struct Archive {
    key: String,
    bytes: Bytes,
}

/// Packs each program.
pub(crate) fn pack(programs: &Programs) -> Result<BTreeMap<String, Archive>> {
    programs
        .iter()
        .map(|(function, program)| {
            let bytes = fs::read(program).with_context(|| format!("could not read {}", program.display()))?;
            let archive = Archive { key: format!("{function}-{}.zip", fingerprint(&bytes)), bytes: archive(&bytes)? };
            Ok((function.clone(), archive))
        })
        .collect()
}

/// One file, `bootstrap`, not compressed: the archive travels no further than this machine, and reading is what counts.
/// It has no time in it, so the same program makes the same archive.
fn archive(program: &[u8]) -> Result<Bytes> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(program.len() + 1024)));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(0o755);
    zip.start_file("bootstrap", options)?;
    zip.write_all(program)?;
    Ok(zip.finish()?.into_inner().into())
}

/// The bucket of the archives and of the template, which is longer than a request to CloudFormation may be.
pub(crate) struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// Opens it; makes it if it is not there.
    pub(crate) async fn open(sdk: &SdkConfig) -> Result<Self> {
        let deployed = deploy::deploy(sdk, BUCKET_STACK, Text::Body(BUCKET_TEMPLATE), &[]).await?;
        let name = deployed.outputs.get("Bucket").cloned().context("the stack of the bucket has no output Bucket")?;
        let config = aws_sdk_s3::config::Builder::from(sdk)
            // A host name cannot stand before an IP address, which is what an emulator has.
            .force_path_style(sdk.endpoint_url().is_some())
            // The bytes are neither hashed for the signature nor summed: see `fingerprint`.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build();
        Ok(Self { client: Client::from_conf(config), name })
    }

    /// Uploads the archives that are not there yet; gives each function's place, for its `CodeUri`.
    pub(crate) async fn upload(&self, archives: &BTreeMap<String, Archive>) -> Result<BTreeMap<String, String>> {
        let mut places = BTreeMap::new();
        for (function, archive) in archives {
            self.put(&archive.key, &archive.bytes).await?;
            places.insert(function.clone(), format!("s3://{}/{}", self.name, archive.key));
        }
        Ok(places)
    }

    /// Uploads a template; gives its URL, for CloudFormation.
    pub(crate) async fn upload_template(&self, text: &str) -> Result<String> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let key = format!("template-{}.yaml", fingerprint(&bytes));
        self.put(&key, &bytes).await?;
        // The SDK knows the host of every region and of an emulator. CloudFormation reads with the caller's own rights, so
        // the signature is not for it.
        let soon = PresigningConfig::expires_in(Duration::from_secs(60))?;
        let signed = self.client.get_object().bucket(&self.name).key(&key).presigned(soon).await?;
        Ok(signed.uri().split('?').next().unwrap_or_default().to_owned())
    }

    async fn put(&self, key: &str, bytes: &Bytes) -> Result<()> {
        if self.client.head_object().bucket(&self.name).key(key).send().await.is_err() {
            let put = self.client.put_object().bucket(&self.name).key(key).body(ByteStream::from(bytes.clone()));
            let sent = put.customize().disable_payload_signing().send().await;
            sent.with_context(|| format!("could not upload {key} to the bucket {}", self.name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn an_archive_holds_an_executable_bootstrap_and_depends_on_its_content_alone() {
        let bytes = archive(b"program").unwrap();
        assert_eq!(bytes, archive(b"program").unwrap());
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(zip.len(), 1);
        let mut file = zip.by_name("bootstrap").unwrap();
        assert_eq!(file.unix_mode().unwrap() & 0o777, 0o755);
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut content).unwrap();
        assert_eq!(content, b"program");
    }
}
