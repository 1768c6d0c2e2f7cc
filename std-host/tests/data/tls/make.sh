#!/bin/sh
# Makes these files anew, with `openssl`. They guard nothing; the passphrase is `wharf`.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa_pkcs8.pem
openssl rsa -in rsa_pkcs8.pem -traditional -out rsa_pkcs1.pem
openssl rsa -in rsa_pkcs8.pem -traditional -aes256 -passout pass:wharf -out rsa_legacy.pem
openssl pkcs8 -topk8 -v2 aes256 -in rsa_pkcs8.pem -passout pass:wharf -out rsa_encrypted.pem
openssl ecparam -name prime256v1 -genkey -noout -out ec_sec1.pem
openssl pkcs8 -topk8 -scrypt -in ec_sec1.pem -passout pass:wharf -out ec_scrypt.pem

# Certificates that sign themselves, valid for a hundred years.
cat >"$work/ca.cnf" <<END
[ca]
default_ca = own
[own]
new_certs_dir = $work
database = $work/index
rand_serial = yes
policy = any
default_md = sha256
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = DNS:localhost
END
for kind in rsa:rsa_pkcs8 ec:ec_sec1; do
    : >"$work/index"
    key=${kind#*:}.pem
    openssl req -new -key "$key" -subj /CN=localhost -out "$work/request"
    openssl ca -batch -notext -selfsign -config "$work/ca.cnf" -keyfile "$key" -in "$work/request" \
        -startdate 20240101000000Z -enddate 21240101000000Z -out "${kind%:*}.pem"
done
