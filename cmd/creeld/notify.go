package main

import (
	"fmt"
	"time"

	sddaemon "github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// What is told to systemd (sd_notify(3)).
const (
	stateReady    = sddaemon.SdNotifyReady
	stateStopping = sddaemon.SdNotifyStopping
	stateAlive    = sddaemon.SdNotifyWatchdog
)

// stateReloading carries the time that Type=notify-reload asks for
// (systemd.service(5)); Type=notify ignores it.
func stateReloading() string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return sddaemon.SdNotifyReloading
	}
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", sddaemon.SdNotifyReloading, now.Nano()/1000)
}

// notify does nothing where no service manager listens.
func notify(log *logrus.Logger, state string) {
	if _, err := sddaemon.SdNotify(false, state); err != nil {
		log.WithError(err).Warn("notify systemd")
	}
}

// watchdog ticks twice in each interval that systemd set (WatchdogSec=), or
// never.
func watchdog(log *logrus.Logger) (<-chan time.Time, func()) {
	interval, err := sddaemon.SdWatchdogEnabled(false)
	if err != nil {
		log.WithError(err).Warn("read watchdog interval")
	}
	if err != nil || interval == 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(interval / 2)
	return ticker.C, ticker.Stop
}
