# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# Somebody at Zentyal's web interface: edit.pl ACTION …
use strict;
use warnings;
use EBox;
use EBox::Global;

$ENV{USER} //= 'root';
EBox::init();
my $global = EBox::Global->getInstance();
my ($network, $firewall) = map { $global->modInstance($_) } qw(network firewall);
my %actions = (
    # What the installer asks for, and the interface that the host was installed through.
    installed => sub {
        my ($address, $netmask) = @_;
        $global->deleteFirst();
        $network->configureModule();
        $network->setIfaceStatic('eth0', $address, $netmask, 0, 1);
    },
    # Turns the rule with this description into its contrary.
    turn => sub {
        my ($table, $description) = @_;
        my $row = $firewall->model($table)->findValue(description => $description) or die "no rule $description\n";
        $row->elementByName('decision')->setValue('deny');
        $row->store();
    },
    # A rule of one's own, on top of all others.
    rule => sub {
        my ($table, $description, $object) = @_;
        my $services = $network->model('ServiceTable');
        $firewall->model($table)->addRow(
            decision    => 'accept',
            description => $description,
            service     => $services->findValue(name => 'any')->id(),
            destination_selected => 'destination_any',
            $object
            ? (source_selected => 'source_object',
               source_object   => $network->model('ObjectTable')->findValue(name => $object)->id())
            : (source_selected => 'source_any'),
        );
    },
    # Takes an address out of an object.
    shrink => sub {
        my ($object, $address) = @_;
        my $members = $network->model('ObjectTable')->findValue(name => $object)->subModel('members');
        $members->removeRow($members->findValue(name => $address)->id(), 1);
    },
    save   => sub { $global->saveAllModules() },
    revoke => sub { $global->revokeAllModules() },
);
my $action = shift @ARGV;
$actions{$action}->(@ARGV);
