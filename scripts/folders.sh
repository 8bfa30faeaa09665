# shellcheck shell=bash
# Folders with a Debian of their own, for what is tested on another release; sourced after lib.sh, never run.

# This machine's own mirror of Debian: that of a release, or with "-security" that of its later mends.
debian_mirror() {
    # shellcheck disable=SC2016  # apt fills it in
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        sed -n "s/^Debian main [a-z]*${1:-} \\(.*\\)$/\\1/p" | head -n 1
}

# The lines of apt for a release of Debian and what was mended in it since.
debian_sources() {
    local suite=$1 from
    from=$(debian_mirror)
    [[ -z $from ]] || printf 'deb %s %s main\n' "$from" "$suite"
    from=$(debian_mirror -security)
    [[ -z $from ]] || printf 'deb %s %s-security main\n' "$from" "$suite"
}

# What tells the clients of package registries how to reach the network, by name.
network_variables() {
    compgen -e | {
        grep -iE '^(pip_|(https?|all|no)_proxy$|ssl_cert_|requests_ca|curl_ca|node_extra|npm_config_)' || true
    }
}

# Makes a folder that scripts fill and may remove, and refuses one in which somebody else has something.
own_folder() {
    [[ -e $1/.hypercube || ! -e $1 || (-d $1 && -z $(ls -A "$1")) ]] ||
        die "$1 holds what no script put there: name another folder, or empty it"
    install -d -m 755 "$1"
    touch "$1/.hypercube"
}

# Fills a folder with a release of Debian and with what its clients need to reach the network; once.
bootstrap() {
    local suite=$1 folder=$2 from
    type -P debootstrap > /dev/null || die "needs debootstrap: apt-get install debootstrap"
    own_folder "$folder"
    if [[ ! -e $folder/complete ]]; then
        rm -rf --one-file-system "$folder"
        own_folder "$folder"
        say "filling $folder with Debian's $suite"
        from=$(debian_mirror)
        debootstrap --variant=minbase --include=ca-certificates,git,procps "$suite" "$folder" ${from:+"$from"} \
            > "$folder.log" 2>&1 || die "debootstrap failed: $folder.log"
        # Nothing is to run there as a service.
        install -m 755 /dev/stdin "$folder/usr/sbin/policy-rc.d" <<< $'#!/bin/sh\nexit 101'
        reach_network "$folder"
        debian_sources "$suite" > "$folder/etc/apt/sources.list.d/hypercube.list"
        [[ ! -s $folder/etc/apt/sources.list.d/hypercube.list ]] || rm -f "$folder/etc/apt/sources.list"
        # shellcheck disable=SC2154  # of lib.sh
        "$root/scripts/inside" "$folder" apt-get -q update >> "$folder.log" 2>&1
        touch "$folder/complete"
    fi
}

# Gives a folder what the clients of registries are told here: their settings, and the files that variables name.
reach_network() {
    local folder=$1 name path
    for name in $(network_variables); do
        path=${!name}
        [[ $path != /* || ! -f $path ]] || install -D -m 644 "$path" "$folder$path"
    done
    for path in /etc/pip.conf "$HOME/.config/pip/pip.conf" /etc/npmrc "$HOME/.npmrc" /etc/resolv.conf; do
        [[ ! -f $path ]] || install -D -m 600 "$path" "$folder${path/#$HOME\//\/root\/}"
    done
    chmod 644 "$folder/etc/resolv.conf"
    # A newer package of certificates makes the file of all of them anew, with those of this machine from here.
    install -d "$folder/usr/local/share/ca-certificates"
    [[ ! -d /usr/local/share/ca-certificates ]] ||
        cp -a /usr/local/share/ca-certificates/. "$folder/usr/local/share/ca-certificates"
}
