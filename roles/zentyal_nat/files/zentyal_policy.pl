# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
#
# Speaks with Zentyal through its own modules and models, and with nothing else: no key of its Redis is written, no rule
# of iptables is made here. The module zentyal_policy runs it, plans what it reads, and tells it what to do.
#
#   zentyal_policy.pl REQUEST          REQUEST is a file with JSON; one line of JSON comes back on stdout.
#
#   {"do": "read"}                     what Zentyal has published (its read-only instance), and which rules of that the
#                                      kernel lacks
#   {"do": "apply", "changes": {...}}  all changes in one transaction of Zentyal's, then its own saving of all modules.
#                                      What Zentyal refuses leaves nothing behind.
#
# An answer with the key "error" carries Zentyal's own words.

use strict;
use warnings;

use EBox;
use EBox::Global;
use JSON::XS;

# Rows of these tables are read and written: those of the packet filter, then the two of address translation.
my @FILTERS = qw(ToInternetRuleTable ExternalToInternalRuleTable InternalToEBoxRuleTable ExternalToEBoxRuleTable
  EBoxOutputRuleTable);
my @TABLES = (@FILTERS, qw(RedirectsTable SNAT));
my @MODULES = qw(network firewall);

# Zentyal's code prints now and then; only the answer may come out on stdout.
open(my $answer, '>&', \*STDOUT) or die $!;
open(STDOUT, '>&', \*STDERR) or die $!;

sub text_of
{
    my ($error) = @_;
    my $text = (ref $error and eval { $error->can('text') }) ? $error->text() : "$error";
    # Of a command that failed, and may be a script of a hundred lines, what it said last.
    if ($text =~ /^(.*?)root command .+? failed\.\s+Error output:(.*?)Command output:.*?Exit value: (\d+)/s) {
        my ($begin, $status) = ($1, $3);
        my @said = grep { /\S/ } split /\n/, $2;
        $text = "${begin}a command ended with status $status: " . join('; ', @said > 2 ? @said[-2, -1] : @said);
    }
    $text =~ s/<[^>]+>/ /g;
    $text =~ s/\s+/ /g;
    $text =~ s/^ | $//g;
    return $text;
}

# --- reading ----------------------------------------------------------------------------------------------------------

sub side
{
    my ($field, $union, $names) = @_;
    my ($type) = $union->selectedType() =~ /^\Q$field\E_(.+)$/;
    my $value = $union->value();
    if ($type eq 'object') {
        $value = $names->{objects}->{$value};
    } elsif ($type eq 'any' or $type eq 'ebox') {
        $value = undef;
    } else {
        $value = $union->subtype()->printableValue();
    }
    return {
        type    => $type,
        value   => $value,
        inverse => ($union->can('inverseMatch') and $union->inverseMatch()) ? 1 : 0,
    };
}

sub rule
{
    my ($row, $names) = @_;
    my %rule = (id => $row->id());
    foreach my $field (grep { $row->elementExists($_) } qw(source destination origDest)) {
        # The destination of a forward is a plain address: to_address.
        my $union = $row->elementByName($field);
        $rule{$field} = side($field, $union, $names) if $union->isa('EBox::Types::Union');
    }
    if ($row->elementExists('service')) {
        my $service = $row->elementByName('service');
        $rule{service} = { name => $names->{services}->{$service->value()}, inverse => $service->inverseMatch() ? 1 : 0 };
    }
    foreach my $field (qw(decision interface protocol snat description)) {
        next unless $row->elementExists($field);
        my $value = $row->valueByName($field);
        $rule{$field} = defined $value ? "$value" : '';
    }
    $rule{log} = $row->valueByName('log') ? 1 : 0 if $row->elementExists('log');
    if ($row->elementExists('external_port')) {
        my $port = $row->elementByName('destination_port');
        $rule{port} = '' . $row->elementByName('external_port')->value();
        $rule{to_address} = $row->valueByName('destination');
        $rule{to_port} = $port->selectedType() eq 'destination_port_same' ? 'same' : '' . $port->value();
    }
    return \%rule;
}

sub rows_of
{
    my ($model, $make) = @_;
    return [ map { $make->($model->row($_)) } @{ $model->ids() } ];
}

sub filter_rule
{
    my ($row, $names) = @_;
    my $rule = eval { rule($row, $names) };
    die "row " . $row->id() . " of " . $row->model()->name() . ": " . text_of($@) . "\n" if $@;
    return $rule;
}

sub look
{
    my %found = (changed => [], modules => {}, interfaces => {}, vlans => {}, tables => {});
    my $writable = EBox::Global->getInstance();
    $found{changed} = [ grep { $writable->modIsChanged($_) } @{ $writable->modNames() } ];
    my $global = EBox::Global->getInstance(1);
    foreach my $name (@MODULES) {
        my $module = $global->modInstance($name);
        die "the package zentyal-$name is not installed\n" unless $module;
        $found{modules}->{$name} = {
            enabled    => $module->isEnabled() ? 1 : 0,
            configured => $module->configured() ? 1 : 0,
            version    => eval { $module->version() } // '',
        };
    }
    my $network = $global->modInstance('network');
    $found{first_install} = $global->first() ? 1 : 0;
    $found{nameservers} = [ grep { $_ !~ /^127\./ } @{ $network->nameservers() } ];
    foreach my $name (@{ $network->ifaces() }) {
        my $method = $network->ifaceMethod($name);
        my $static = $method eq 'static';
        $found{interfaces}->{$name} = {
            method   => $method,
            address  => $static ? $network->ifaceAddress($name) : undef,
            netmask  => $static ? $network->ifaceNetmask($name) : undef,
            external => $network->ifaceIsExternal($name) ? 1 : 0,
        };
    }
    my $vlans = $network->get_hash('vlans');
    foreach my $id (@{ $network->vlans() }) {
        $found{vlans}->{$id} = { name => $vlans->{$id}->{name} // '', interface => $vlans->{$id}->{interface} };
    }

    my %names = (objects => {}, services => {});
    $found{objects} = rows_of($network->model('ObjectTable'), sub {
        my ($row) = @_;
        $names{objects}->{ $row->id() } = $row->valueByName('name');
        my $members = rows_of($row->subModel('members'), sub {
            my ($member) = @_;
            return {
                id      => $member->id(),
                address => $member->printableValueByName('address'),
                mac     => $member->valueByName('macaddr') // '',
            };
        });
        return { id => $row->id(), name => $row->valueByName('name'), members => $members };
    });
    $found{services} = rows_of($network->model('ServiceTable'), sub {
        my ($row) = @_;
        my $name = $row->valueByName('name');
        $names{services}->{ $row->id() } = $name;
        my $ports = rows_of($row->subModel('configuration'), sub {
            my ($port) = @_;
            return { map { $_ => '' . $port->elementByName($_)->value() } qw(protocol source destination) };
        });
        return {
            id          => $row->id(),
            name        => $name,
            description => $row->valueByName('description') // '',
            ports       => $ports,
        };
    });
    my $firewall = $global->modInstance('firewall');
    foreach my $table (@TABLES) {
        $found{tables}->{$table} = rows_of($firewall->model($table), sub { filter_rule($_[0], \%names) });
    }
    $found{missing} = $firewall->isEnabled() ? missing() : [];
    return \%found;
}

# Rules that Zentyal makes of its tables and the kernel does not have, in iptables' words.
sub missing
{
    require EBox::Firewall::IptablesHelper;
    my $helper = EBox::Firewall::IptablesHelper->new();
    my @rules = map { @{ $helper->$_() } } @FILTERS, qw(RedirectsRuleTable SNATRules);
    s/\s+/ /g, s/^ | $//g foreach @rules;
    my @checks;
    foreach my $number (0 .. $#rules) {
        my $check = $rules[$number];
        $check =~ s/(^| )-A /$1-C /;
        push @checks, "/sbin/iptables -w $check >/dev/null 2>&1 || echo $number";
    }
    return [] unless @checks;
    my @numbers = @{ EBox::Sudo::silentRoot(@checks) };
    chomp @numbers;
    return [ map { $rules[$_] } @numbers ];
}

# --- writing ----------------------------------------------------------------------------------------------------------

sub id_of
{
    my ($model, $name) = @_;
    my $row = $model->findValue(name => $name);
    die "Zentyal has no \"$name\" in its " . $model->name() . "\n" unless $row;
    return $row->id();
}

sub side_fields
{
    my ($field, $side, $network) = @_;
    my %fields = ("${field}_selected" => "${field}_$side->{type}");
    if ($side->{type} eq 'ipaddr') {
        @fields{ "${field}_ipaddr_ip", "${field}_ipaddr_mask" } = split '/', $side->{value};
    } elsif ($side->{type} eq 'object') {
        $fields{"${field}_object"} = id_of($network->model('ObjectTable'), $side->{value});
    }
    return %fields;
}

sub port_fields
{
    my ($field, $port) = @_;
    return ("${field}_range_type" => 'any') if $port eq 'any';
    my ($from, $to) = split ':', $port;
    return ("${field}_range_type" => 'single', "${field}_single_port" => $from) unless defined $to;
    return ("${field}_range_type" => 'range', "${field}_from_port" => $from, "${field}_to_port" => $to);
}

sub row_fields
{
    my ($rule, $network) = @_;
    my %fields = map { $_ => $rule->{$_} } grep { exists $rule->{$_} } qw(decision interface protocol snat description log);
    foreach my $field (grep { exists $rule->{$_} } qw(source destination origDest)) {
        %fields = (%fields, side_fields($field, $rule->{$field}, $network));
    }
    $fields{service} = id_of($network->model('ServiceTable'), $rule->{service}->{name}) if exists $rule->{service};
    if (exists $rule->{to_address}) {
        $fields{destination} = $rule->{to_address};
        %fields = (%fields, port_fields('external_port', $rule->{port}));
        $fields{destination_port_selected} = 'destination_port_other';
        $fields{destination_port_other} = $rule->{to_port};
    }
    return %fields;
}

# Rows go and come, and then stand in the given order before all others.
sub change_table
{
    my ($model, $change, $network) = @_;
    $model->removeRow($_, 1) foreach @{ $change->{remove} };
    my @ids = map { $_->{id} // $model->addRow(row_fields($_, $network)) } @{ $change->{rows} };
    my $position = 0;
    foreach my $id (@ids) {
        my @now = @{ $model->ids() };
        $model->moveRowRelative($id, undef, $now[$position]) if $now[$position] ne $id;
        $position++;
    }
}

sub change_interface
{
    my ($network, $change) = @_;
    my $do = $change->{do};
    if ($do eq 'trunk') {
        $network->setIfaceTrunk($change->{name}, 0);
    } elsif ($do eq 'vlan') {
        $network->createVlan($change->{id}, $change->{label}, $change->{parent});
    } elsif ($do eq 'static') {
        $network->setIfaceStatic($change->{name}, $change->{address}, $change->{netmask}, $change->{external}, 0);
    } elsif ($do eq 'remove_vlan') {
        $network->unsetIface("vlan$change->{id}", 0);
        $network->removeVlan($change->{id});
    }
}

sub change
{
    my ($changes) = @_;
    my $global = EBox::Global->getInstance();
    my ($network, $firewall) = map { $global->modInstance($_) } @MODULES;
    foreach my $name (@{ $changes->{enable} // [] }) {
        $global->modInstance($name)->configureModule();
    }
    change_interface($network, $_) foreach @{ $changes->{interfaces} // [] };
    my $objects = $network->model('ObjectTable');
    foreach my $object (@{ $changes->{objects} // [] }) {
        if ($object->{create}) {
            $objects->addObject(name => $object->{name});
        }
        my $members = $objects->findValue(name => $object->{name})->subModel('members');
        $members->removeRow($_, 1) foreach @{ $object->{remove} };
        foreach my $address (@{ $object->{add} }) {
            my ($ip, $mask) = split '/', $address;
            $members->addRow(name => $address, address_selected => 'ipaddr', ipaddr_ip => $ip, ipaddr_mask => $mask);
        }
    }
    my $services = $network->model('ServiceTable');
    foreach my $service (@{ $changes->{services} // [] }) {
        my @ports = map { { protocol => $_->{protocol}, sourcePort => 'any', destinationPort => $_->{destination} } }
          @{ $service->{ports} };
        my %given = (name => $service->{name}, description => $service->{description}, internal => 0, services => \@ports);
        if ($service->{create}) {
            $services->addMultipleService(%given);
        } else {
            $services->setMultipleService(%given);
        }
    }
    change_table($firewall->model($_->{table}), $_, $network) foreach @{ $changes->{tables} // [] };
    # What nothing uses any more. Without force: Zentyal refuses if a rule of somebody else does.
    $services->removeRow($_) foreach @{ $changes->{remove_services} // [] };
    $objects->removeRow($_) foreach @{ $changes->{remove_objects} // [] };
    change_interface($network, $_) foreach @{ $changes->{remove_vlans} // [] };
    # Saved already, but the host does not have it.
    $global->modInstance($_)->setAsChanged(1) foreach @{ $changes->{publish} // [] };
}

sub apply
{
    my ($changes) = @_;
    my $global = EBox::Global->getInstance();
    my $redis = $global->modInstance('network')->redis();
    $redis->begin();
    eval { change($changes); 1 } or do {
        my $error = text_of($@);
        $redis->rollback();
        return { error => $error, stage => 'change' };
    };
    $redis->commit();

    # The firewall only logs what iptables refuses, and saving goes on: listen to what is logged.
    my @logged;
    {
        no warnings 'redefine';
        my $log = \&EBox::error;
        local *EBox::error = sub { push @logged, text_of($_[0]); $log->(@_) };
        eval { $global->saveAllModules(); 1 } or return { error => text_of($@), logged => \@logged, stage => 'save' };
    }
    my @failed = grep { /^Error restarting firewall|^Error executing firewall rules/ } @logged;
    return { error => $failed[0], logged => \@logged, stage => 'save' } if @failed;
    return { messages => [ map { text_of($_) } @{ $global->saveMessages() } ], missing => missing() };
}

# ----------------------------------------------------------------------------------------------------------------------

my $request = do {
    open(my $in, '<', $ARGV[0]) or die "$ARGV[0]: $!\n";
    local $/;
    decode_json(<$in>);
};
# Without it Zentyal takes the call for the boot of the host, and leaves its interfaces alone.
$ENV{USER} //= 'root';
my $result = eval {
    EBox::init();
    EBox::setLocaleEnvironment('C');
    $request->{do} eq 'apply' ? apply($request->{changes}) : look();
} // { error => text_of($@), stage => 'read' };
print {$answer} JSON::XS->new->utf8->canonical->encode($result), "\n";
exit 0;
