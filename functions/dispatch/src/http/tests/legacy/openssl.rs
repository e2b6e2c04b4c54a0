//! `openssl s_server` as a receiver, with certificates that `openssl` makes.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Child;

use super::NAME;

/// Keys and certificates in a folder of their own.
pub struct Files(PathBuf);

impl Files {
    /// Makes those of an authority and of all receivers.
    pub fn make() -> Self {
        let version = Command::new("openssl").arg("version").output();
        let version =
            version.expect("this test needs the openssl command: `apt-get install openssl`, `brew install openssl@3`");
        assert!(version.stdout.starts_with(b"OpenSSL 3"), "this test needs OpenSSL 3: {version:?}");
        let folder = std::env::temp_dir().join(format!("pombo-receivers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        files.issuer("authority", None);
        files.issuer("intermediate", Some("authority"));
        let ec = |curve: &str| format!("-algorithm EC -pkeyopt ec_paramgen_curve:{curve}");
        let rsa = |bits: u32| format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}");
        let signed = "-CA authority.pem -CAkey authority.key -days 30 -extfile name.ext";
        std::fs::write(files.path("name.ext"), format!("subjectAltName=DNS:{NAME}")).unwrap();
        std::fs::write(files.path("other.ext"), "subjectAltName=DNS:other.example.com").unwrap();
        std::fs::write(files.path("none.ext"), "basicConstraints=CA:FALSE").unwrap();
        for bits in [1024, 2048, 3072] {
            files.receiver(&format!("rsa{bits}"), &rsa(bits), signed);
        }
        for (name, curve) in [("p256", "P-256"), ("p384", "P-384"), ("p521", "P-521")] {
            files.receiver(name, &ec(curve), signed);
        }
        files.receiver("ed25519", "-algorithm ED25519", signed);
        files.receiver("ed448", "-algorithm ED448", signed);
        files.receiver("pss", "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048", signed);
        files.run("genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:2048 -out dsa.parameters");
        files.receiver("dsa", "-paramfile dsa.parameters", signed);
        files.receiver("sha1", &rsa(2048), &format!("{signed} -sha1"));
        files.receiver("sha1_p256", &ec("P-256"), &format!("{signed} -sha1"));
        files.receiver("md5", &rsa(2048), &format!("{signed} -md5"));
        files.receiver("other_name", &ec("P-256"), &signed.replace("name.ext", "other.ext"));
        files.receiver("common_name", &ec("P-256"), &signed.replace("name.ext", "none.ext"));
        files.receiver("version1", &ec("P-256"), &signed.replace(" -extfile name.ext", ""));
        files.receiver("expired", &ec("P-256"), &signed.replace("-days 30", "-days -1"));
        files.receiver("incomplete", &ec("P-256"), &signed.replace("authority", "intermediate"));
        files.receiver("self_signed", &ec("P-256"), "-key self_signed.key -days 30 -extfile name.ext");
        files.run(&format!(
            "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={NAME} -addext subjectAltName=DNS:{NAME} \
             -keyout self_signed_ca.key -out self_signed_ca.pem"
        ));
        files
    }

    /// The certificate that is trusted.
    pub fn authority(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path("authority.pem")).unwrap()
    }

    fn issuer(&self, name: &str, by: Option<&str>) {
        let by = by.map(|by| format!("-CA {by}.pem -CAkey {by}.key")).unwrap_or_default();
        self.run(&format!(
            "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={name} -keyout {name}.key -out {name}.pem {by}"
        ));
    }

    fn receiver(&self, name: &str, key: &str, signed: &str) {
        self.run(&format!("genpkey {key} -out {name}.key"));
        self.run(&format!("req -new -key {name}.key -subj /CN={NAME} -out {name}.csr"));
        self.run(&format!("x509 -req -in {name}.csr -out {name}.pem -set_serial 1 {signed}"));
    }

    fn run(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// How a receiver is started.
#[derive(Debug)]
pub struct Server {
    certificate: &'static str,
    arguments: Vec<&'static str>,
}

/// A receiver that runs, until it is dropped.
pub struct Running {
    pub port: u16,
    _process: Child,
}

impl Server {
    pub fn with(certificate: &'static str, arguments: &[&'static str]) -> Self {
        Self { certificate, arguments: arguments.to_vec() }
    }

    /// Starts it. It answers its first request, and prints what came.
    pub async fn start(&self, files: &Files) -> Running {
        let mut command = tokio::process::Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cert"]).arg(format!("{}.pem", self.certificate));
        command.arg("-key").arg(format!("{}.key", self.certificate)).args(&self.arguments).current_dir(&files.0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("{self:?} does not start"));
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.rsplit_once(':').unwrap().1.parse().unwrap();
            }
        };
        let mut answer = process.stdin.take().unwrap();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with("content-length") {
                    answer
                        .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                        .await
                        .unwrap();
                }
            }
        });
        Running { port, _process: process }
    }
}
