#!/usr/bin/env bash
# Make demo/release anew: broker and plugin built for real, by a builder, then rebuilt from its manifest by a rebuilder.
# As root, with a network, some minutes; nothing where its inputs are those of the last time. Both keys, and the one that
# signs the plugin's source, are made for it and thrown away: nobody can sign another in their name.
set -euo pipefail
cd "$(dirname "$0")/.."
recipes="recipes/mosquitto-bookworm.toml recipes/plugin-bookworm.toml"
release=demo/release
mkdir -p build
work=$(mktemp -d build/release-XXXXXX)
GNUPGHOME=$(mktemp -d)
export GNUPGHOME
ended() {
    gpgconf --kill all || true
    rm -rf "$work" "$GNUPGHOME"
}
trap ended EXIT

mkdir "$work/source"
tools/source.sh "$work/source/sigillo.tar"
inputs=$(cat $recipes "$work/source/sigillo.tar" | sha256sum | cut -d ' ' -f 1)
if [ "$(cat $release/inputs 2>/dev/null)" = "$inputs" ]; then
    echo "$release: is of these very recipes and this source"
    exit
fi

gpg --quiet --batch --passphrase '' --quick-generate-key 'Sigillo demo source' ed25519 sign never
gpg --quiet --batch --export >"$work/keys.gpg"
gpg --quiet --batch --detach-sign --output "$work/source/sigillo.tar.sig" "$work/source/sigillo.tar"
for name in builder rebuilder; do
    openssl genpkey -algorithm ed25519 -out "$work/$name.key.pem"
    chmod 600 "$work/$name.key.pem"
done
openssl pkey -in "$work/builder.key.pem" -pubout -out "$work/builder.pub.pem"

set -- $recipes
./sigillo build "$1" -o "$work/mosquitto"
./sigillo build "$2" -o "$work/plugin" --source "$work/source" --keys "$work/keys.gpg"
./sigillo release new "$work/mosquitto" "$work/plugin" --name "Example Builder" --builder "$work/builder.key.pem" \
    -o "$work/release"
./sigillo rebuild "$work/release/manifest.json" --builder "$work/builder.pub.pem" --key "$work/rebuilder.key.pem" \
    --name "Example Rebuilder" -o "$work/rebuilt"

mkdir -p $release/source
cp "$work/source/sigillo.tar.sig" $release/source/
cp "$work/builder.pub.pem" "$work/release/manifest.json" "$work/rebuilt/rebuild.json" $release/
echo "$inputs" >$release/inputs
