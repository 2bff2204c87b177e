package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/image"
)

func newRmCommand() *cli.Command {
	return &cli.Command{
		Name: "rm", Usage: "remove images", ArgsUsage: "NAME|ID…",
		Description: "A NAME:TAG that is not an image's only one is taken from it; the image goes with its last.",
		Action:      runRm,
	}
}

func newPruneCommand() *cli.Command {
	return &cli.Command{
		Name: "prune", Usage: "remove the images that no policy names",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "do not ask"}},
		Action: runPrune,
	}
}

func runRm(c *cli.Context) error {
	if c.NArg() == 0 {
		return program.Usagef(c, "rm takes at least one image")
	}
	store, _, err := openStore(c)
	if err != nil {
		return err
	}
	w, err := store.Write(c.Context, nil)
	if err != nil {
		return err
	}
	defer w.Close()
	var errs []error
	for _, text := range c.Args().Slice() {
		removed, err := remove(store, w, text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(os.Stdout, removed)
	}
	return inUse(errors.Join(errs...))
}

// remove takes a name from its image, or the image with its last name, or by
// its ID or digest, with all its names.
func remove(store *image.Store, w *image.Writer, text string) (string, error) {
	info, err := find(store, text)
	if err != nil {
		return "", err
	}
	if tags := shown(*info); len(tags) > 1 && !strings.Contains(text, "@") && !byID(info, text) {
		return "untagged: " + text, w.Unname(text)
	}
	return "removed: " + info.ID, w.Remove(info.ID)
}

func byID(info *image.Info, text string) bool {
	_, hex, _ := strings.Cut(info.ID, ":")
	return text == info.ID || len(text) >= 6 && strings.HasPrefix(hex, text)
}

// find is an image by its reference, or by the beginning of its ID.
func find(store *image.Store, text string) (*image.Info, error) {
	held, err := store.Resolve(text)
	if err == nil {
		return &held.Info, held.Release()
	}
	images, listErr := store.List()
	if listErr != nil {
		return nil, listErr
	}
	var found []*image.Info
	for i := range images {
		if byID(&images[i], text) {
			found = append(found, &images[i])
		}
	}
	var missing *image.NotFoundError
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("%d images have an ID that begins with %s", len(found), text)
	case errors.As(err, &missing):
		return nil, program.Hinted(fmt.Errorf("there is no image %s", text), "`creel image ls` lists them")
	}
	return nil, err
}

func inUse(err error) error {
	if errors.Is(err, image.ErrInUse) {
		return program.Hinted(err, "sandboxes of a policy that names it are ready to be made; remove the policy and reload creeld first")
	}
	return err
}

func runPrune(c *cli.Context) error {
	if c.NArg() > 0 {
		return program.Usagef(c, "prune takes no arguments")
	}
	store, config, err := openStore(c)
	if err != nil {
		return err
	}
	w, err := store.Write(c.Context, nil)
	if err != nil {
		return err
	}
	defer w.Close()
	unnamed, err := unnamed(store, config)
	if err != nil || len(unnamed) == 0 {
		return err
	}
	for _, info := range unnamed {
		fmt.Fprintf(os.Stderr, "not named by a policy: %s (%s)\n", program.Printable(info.Pin()), units.BytesSize(float64(info.Size)))
	}
	if !c.Bool("force") {
		if err := confirm(len(unnamed)); err != nil {
			return err
		}
	}
	var errs []error
	freed := int64(0)
	for _, info := range unnamed {
		if err := w.Remove(info.ID); err != nil {
			errs = append(errs, err)
			continue
		}
		freed += info.Size
		fmt.Fprintln(os.Stdout, "removed: "+info.ID)
	}
	fmt.Fprintf(os.Stderr, "freed: %s\n", units.BytesSize(float64(freed)))
	return inUse(errors.Join(errs...))
}

// unnamed lists the images that no policy means. Policies with errors refuse
// the prune: they may name any.
func unnamed(store *image.Store, config *policy.Config) ([]image.Info, error) {
	set, problems := policy.LoadSet(os.DirFS("/"), config.PolicyDir)
	if set == nil || policy.HasErrors(problems) {
		return nil, program.Hinted(errors.New("the policies have errors, so what they name is not known"), "creel policy check "+config.PolicyDir+"/*.yaml")
	}
	named := map[string]bool{}
	for name, p := range set.All() {
		if p.Root.Image == "" {
			continue
		}
		held, err := store.Resolve(p.Root.Image)
		var missing *image.NotFoundError
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for the image of policy %s: %w", name, err)
		}
		named[held.ID] = true
		if err := held.Release(); err != nil {
			return nil, err
		}
	}
	images, err := store.List()
	if err != nil {
		return nil, err
	}
	var rest []image.Info
	for _, info := range images {
		if !named[info.ID] {
			rest = append(rest, info)
		}
	}
	return rest, nil
}

// confirm asks on a terminal; elsewhere there is nobody to ask.
func confirm(count int) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return program.Hinted(errors.New("prune asks before it removes, and stdin is no terminal"), "--force does not ask")
	}
	fmt.Fprintf(os.Stderr, "Remove %d image(s)? [y/N] ", count)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") {
		return errors.New("nothing was removed")
	}
	return nil
}
